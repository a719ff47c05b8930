// myelin contract doc: AsyncAPI from a module's contracts.
import { access, writeFile } from 'node:fs/promises'
import { relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Command } from 'commander'
import { stringify } from 'yaml'
import { failure, messageOf } from '../../bus/index.ts'
import { asyncapi, isContract } from '../../contract/index.ts'
import { print } from '../text.ts'

interface Flags {
  output?: string
  yaml?: boolean
  title?: string
  host?: string
}

export function addContract(program: Command): void {
  const contract = program.command('contract').description('documents made from contracts')
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
}

async function contractsOf(file: string) {
  const path = resolve(file)
  await access(path).catch((cause) => {
    throw failure('FILE_NOT_FOUND', `${file} cannot be read`, { cause })
  })
  let exported: Record<string, unknown>
  try {
    exported = await import(pathToFileURL(path).href)
  } catch (cause) {
    throw failure('INVALID_CONTRACT', `${relative('.', path)} cannot be loaded: ${messageOf(cause)}`, { cause })
  }
  const found = [...new Set(Object.values(exported))].filter(isContract)
  if (found.length === 0) throw failure('INVALID_CONTRACT', `${file} exports no contract; export what contract() gives`)
  return found
}
