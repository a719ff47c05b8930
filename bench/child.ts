// One side of a benchmark in a process of its own: `node bench/child.ts <module> <function> <url>` calls the function
// and answers each message of the parent with what the function's result makes of it.
import { resolve } from 'node:path'

const [file = '', name = '', url = ''] = process.argv.slice(2)
const role = (await import(resolve(import.meta.dirname, file)))[name] as (url: string) => Promise<unknown>
const answer = (await role(url)) as ((params: unknown) => Promise<unknown>) | undefined
process.on('message', async (params) => process.send?.(await answer?.(params)))
process.on('disconnect', () => process.exit())
process.send?.('ready')
