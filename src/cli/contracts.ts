// Contracts as commands are given them: modules that export them, and AsyncAPI documents made from them.
import { access, readFile } from 'node:fs/promises'
import { relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parse } from 'yaml'
import { failure, messageOf } from '../bus/internal.ts'
import { type Contract, type ContractShape, isContract, shapeOf, shapesOfDocument } from '../contract/internal.ts'

/** The contracts that a module exports. @throws MyelinError FILE_NOT_FOUND, INVALID_CONTRACT */
export async function contractsOf(file: string): Promise<Contract[]> {
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

/** The same of a module or of a document (.json, .yaml), as they are compared. */
export async function shapesOf(file: string): Promise<ContractShape[]> {
  if (!/\.(json|ya?ml)$/i.test(file)) return (await contractsOf(file)).map(shapeOf)
  const text = await readFile(file, 'utf8').catch((cause) => {
    throw failure('FILE_NOT_FOUND', `${file} cannot be read`, { cause })
  })
  let document: unknown
  try {
    document = parse(text) // JSON is YAML
  } catch (cause) {
    throw failure('INVALID_CONTRACT', `${file} is neither JSON nor YAML: ${messageOf(cause)}`, { cause })
  }
  return shapesOfDocument(document, file)
}
