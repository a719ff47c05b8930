// myelin contract: AsyncAPI from a module's contracts, and two versions compared.
import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { stringify } from 'yaml'
import { asyncapi } from '../../contract/internal.ts'
import { contractsOf } from '../contracts.ts'
import { print } from '../text.ts'
import { addContractDiff } from './contract-diff.ts'

interface Flags {
  output?: string
  yaml?: boolean
  title?: string
  host?: string
}

export function addContract(program: Command): void {
  const contract = program.command('contract').description('documents made from contracts, and versions compared')
  contract
    .command('doc')
    .description('print the AsyncAPI 3.0 document of the contracts that modules export')
    .argument('<file...>', 'modules, TypeScript or JavaScript')
    .option('--yaml', 'YAML instead of JSON')
    .option('-o, --output <file>', 'write to a file')
    .option('--title <title>', "the document's title")
    .option('--host <host:port>', 'a server to name in the document')
    .addHelpText('after', '\nExample:\n  myelin contract doc examples/airline/contracts/airports.ts --yaml')
    .action(async (files: string[], flags: Flags) => {
      const contracts = (await Promise.all(files.map(contractsOf))).flat()
      const document = asyncapi(contracts, {
        ...(flags.title ? { title: flags.title } : {}),
        ...(flags.host ? { server: flags.host } : {}),
      })
      const text = flags.yaml ? stringify(document) : JSON.stringify(document, undefined, 2)
      if (flags.output) await writeFile(flags.output, `${text.trimEnd()}\n`)
      else print(text.trimEnd())
    })
  addContractDiff(contract)
}
