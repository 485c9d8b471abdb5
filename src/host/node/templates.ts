/**
 * The templates that the stores of a data folder stand on. A store is a difference from exactly one
 * template; an engine of another build brings another one. So the folder keeps a copy of each
 * template that any of its stores was made on, and stays readable by every later pgnap of the same
 * Postgres major version.
 *
 *     DIR/templates/ID.bin    Template.serialize(), 8 MB, written once
 */
import { existsSync, readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseVerifiedAssets } from '../../engine/engine-assets.ts'
import { Template } from '../../store/template.ts'
import type { EngineParts } from './engine/load-engine.ts'
import { assetsIn } from './engine/sparse-file.ts'
import { explainFolderError } from './data-folder.ts'
import { makeFolderDurably, syncFolder } from './durable-file.ts'

const TEMPLATES_FOLDER = 'templates'
const ID_PATTERN = /^[0-9a-f]{8,64}$/

export class TemplateShelf {
  readonly #folder: string
  readonly #templates = new Map<string, Template>()

  /** @param own the template of this engine */
  constructor(dataPath: string, own: Template) {
    this.#folder = join(dataPath, TEMPLATES_FOLDER)
    this.#templates.set(own.id, own)
  }

  /**
   * A template by id; undefined if neither this engine nor the folder has it: a file of the folder
   * that holds another one counts for nothing.
   */
  get(id: string): Template | undefined {
    const known = this.#templates.get(id)
    if (known) return known
    const path = join(this.#folder, `${id}.bin`)
    if (!ID_PATTERN.test(id) || !existsSync(path)) return undefined
    const template = Template.parse(readFileSync(path))
    if (template.id !== id) return undefined
    this.#templates.set(id, template)
    return template
  }
}

/** Keeps the template that stores of this engine are made on; see {@link writeTemplate}. */
export async function keepTemplate(dataPath: string, { assets }: EngineParts): Promise<void> {
  await writeTemplate(dataPath, parseVerifiedAssets(assetsIn(assets)).template)
}

/**
 * Keeps a template in the folder, where it outlives the machine. No store may be made on it before.
 * @throws PgnapError STORE_FULL, STORE_IO, CONFIG_INVALID
 */
export async function writeTemplate(dataPath: string, template: Template): Promise<void> {
  const folder = join(dataPath, TEMPLATES_FOLDER)
  try {
    const path = join(folder, `${template.id}.bin`)
    if (existsSync(path)) return
    makeFolderDurably(folder)
    await writeFile(`${path}.new`, template.serialize(), { flush: true })
    await rename(`${path}.new`, path)
    syncFolder(folder)
  } catch (error) {
    throw explainFolderError(folder, error)
  }
}
