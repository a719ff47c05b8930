// The text of the generated pages under docs/.
import { errorCatalogue } from 'myelin/bus'

/** Pages by file name. */
export function pages(): Record<string, string> {
  return { 'errors.md': errorsPage() }
}

function errorsPage(): string {
  const rows = Object.entries(errorCatalogue).map(
    ([code, spec]) => `| \`${code}\` | ${spec.what} | ${spec.fix} | ${'retriable' in spec ? 'yes' : ''} |`,
  )
  return `# Errors

Every error is a \`MyelinError\` with a stable \`code\`, a message that names the thing it happened to, the cause, and typed \`data\` where a program can use it. \`npx myelin errors <code>\` explains one. *Retriable*: trying the same again may succeed. Services add codes of their own in their contracts.

| code | what happened | what to do | retriable |
|---|---|---|---|
${rows.join('\n')}

<!-- generated from src/bus/errors.ts by scripts/reference.ts -->
`
}
