// myelin errors: what a code means and what to do.
import type { Command } from 'commander'
import { errorCatalogue, isErrorCode } from '../../bus/internal.ts'
import { nearest } from '../../runtime/index.ts'
import { print, printJson, UsageError } from '../text.ts'

export function addErrors(program: Command): void {
  program
    .command('errors')
    .description('explain an error code, or list them all')
    .argument('[code]')
    .option('--json', 'output for programs')
    .action((code: string | undefined, flags: { json?: boolean }) => {
      if (code !== undefined && !isErrorCode(code)) {
        const near = nearest(code, Object.keys(errorCatalogue))
        throw new UsageError(`there is no error code "${code}"${near ? `; did you mean ${near}?` : ''}`)
      }
      const shown = Object.entries(errorCatalogue).filter(([name]) => code === undefined || name === code)
      if (flags.json) return printJson(Object.fromEntries(shown))
      for (const [name, { what, fix }] of shown) print(`${name}\n  ${what}\n  → ${fix}`)
    })
}
