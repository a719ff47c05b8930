// Where in a module something went wrong when it was imported: Node keeps that in the stack, in several forms.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** `file:line:column` of an error that an import threw, as far as it is known. */
export async function placeOf(error: unknown, file: string): Promise<string> {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  const unresolved = /Cannot find (?:module|package) '([^']+)' imported from (.+)$/m.exec(stack)
  if (unresolved) return importOf(unresolved[1]!, unresolved[2]!)
  const head = inHead(stack)
  if (head) return head
  if (error instanceof SyntaxError) return inHead(await checked(file)) ?? shown(file)
  const frame = /\bat .*?((?:file:\/\/)?\/[^\s()]+?):(\d+):(\d+)\)?$/m.exec(stack)
  return frame ? `${shown(frame[1]!)}:${frame[2]}:${frame[3]}` : shown(file)
}

const shown = (path: string): string => {
  const file = path.startsWith('file:') ? fileURLToPath(path.replace(/\?.*$/, '')) : path
  return relative('.', file) || file
}

/** A stack that begins with the place, the line and a mark under the column. */
function inHead(stack: string): string | undefined {
  const place = /^((?:file:\/\/)?\/[^\n]*?):(\d+)\n/.exec(stack)
  if (!place) return undefined
  const column = stack
    .split('\n')
    .find((line) => /^\s*\^+\s*$/.test(line))
    ?.indexOf('^')
  return `${shown(place[1]!)}:${place[2]}${column === undefined ? '' : `:${column + 1}`}`
}

/** What Node says of a file that it does not run: of plain JavaScript it tells the line only there. */
function checked(file: string): Promise<string> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['--check', file], { timeout: 10_000 }, (_error, _out, output) => resolve(output))
  })
}

/** Where a module imports what there is not. */
async function importOf(wanted: string, by: string): Promise<string> {
  const file = by.startsWith('file:') ? fileURLToPath(by) : by
  const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n')
  const name = wanted.split('/').at(-1)!
  const at = lines.findIndex((line) => /\b(?:from|import)\b/.test(line) && line.includes(name))
  return at < 0 ? shown(file) : `${shown(file)}:${at + 1}:${lines[at]!.search(/['"]/) + 1}`
}
