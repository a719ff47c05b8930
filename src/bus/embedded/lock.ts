// placeholder until the real one lands
export async function runningServer(_storeDir: string): Promise<{ url: string } | undefined> {
  return undefined
}
