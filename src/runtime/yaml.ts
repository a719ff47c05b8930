// YAML and JSON as people write configurations: what would be read as something else than it says is refused, with its
// line. Merge keys (`<<`) are merged.
import {
  type Document,
  isCollection,
  isMap,
  isScalar,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
} from 'yaml'
import { failure, messageOf } from '../bus/internal.ts'

/** What a text says, and where. */
export interface ReadYaml {
  readonly value: unknown
  /** `file:line:column` of what a path leads to, or of the last part of it that is there. */
  at(path: readonly PropertyKey[]): string
}

/**
 * Reads a configuration.
 * @throws MyelinError INVALID_COMPOSITION naming file, line and column: syntax, a key that is there twice, a tag that
 *   nobody knows, a whole number that does not fit, a key without a value that holds a colon, an alias to itself
 */
export function readYaml(text: string, file: string): ReadYaml {
  const lines = new LineCounter()
  const document = parseDocument(text, { merge: true, intAsBigInt: true, lineCounter: lines, prettyErrors: false })
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}`
  }
  const problems = [...document.errors, ...document.warnings].map(({ pos, message }) => `${place(pos[0])}: ${message}`)
  const complain = (node: Node, message: string) => problems.push(`${place(node.range?.[0] ?? 0)}: ${message}`)
  visit(document, {
    Scalar: (_key, node) => {
      if (typeof node.value !== 'bigint') return
      if (node.value > Number.MAX_SAFE_INTEGER || node.value < Number.MIN_SAFE_INTEGER) {
        complain(node, `the whole number ${node.source} is larger than JavaScript keeps exactly; write it in quotes`)
      } else node.value = Number(node.value)
    },
    Pair: (_key, pair) => {
      const key = isScalar(pair.key) ? pair.key : undefined
      if (!key) complain(pair.key as Node, 'a key is a word, not a list or an object')
      else if (isGlued(pair, text)) {
        const [before = '', ...after] = String(key.value).split(':')
        complain(
          key,
          `"${key.value}" is a key without a value; write a blank after the colon: "${before}: ${after.join(':')}"`,
        )
      }
    },
    Alias: (_key, alias, path) => {
      const anchored = alias.resolve(document)
      if (!anchored) complain(alias, `there is no &${alias.source} before *${alias.source}`)
      else if (path.includes(anchored)) complain(alias, `*${alias.source} is inside of what it refers to`)
    },
  })
  if (problems.length > 0) throw failure('INVALID_COMPOSITION', problems.join('\n  '))
  try {
    return { value: document.toJS(), at: (path) => place(offsetOf(document, path)) }
  } catch (cause) {
    throw failure('INVALID_COMPOSITION', `${file}: ${messageOf(cause)}`, { cause })
  }
}

/** `{speed:60}`: without a blank after it, the colon is part of the key. */
function isGlued({ key, value }: Pair, text: string): boolean {
  if (!isScalar(key) || typeof key.value !== 'string' || !/^[\w-]+:\S/.test(key.value) || key.type !== 'PLAIN')
    return false
  const nothing = value === null || value === undefined || (isScalar(value) && value.value === null && !value.source)
  return nothing && text.slice(key.range?.[1]).trimStart()[0] !== ':'
}

function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  let node: unknown = document.contents
  let offset = (node as Node | null)?.range?.[0] ?? 0
  for (const step of path) {
    if (!isCollection(node)) break
    const pair = isMap(node)
      ? node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
      : undefined
    const next = node.get(isMap(node) ? step : Number(step), true)
    const found = (pair?.key ?? next) as Node | undefined
    if (!found?.range) break
    offset = found.range[0]
    node = pair?.value ?? next
  }
  return offset
}
