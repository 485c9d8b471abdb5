/**
 * The templates that the stores of a data folder stand on. A store is a difference from exactly one
 * template; an engine of another build brings another one. So the folder keeps a copy of each
 * template that any of its stores was made on, and stays readable by every later pgnap of the same
 * Postgres major version.
 *
 *     DIR/templates/ID.bin    Template.serialize(), 8 MB, written once
 */
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseVerifiedAssets } from '../../engine/engine-assets.ts'
import { Template } from '../../store/template.ts'
import type { EngineParts } from './engine/load-engine.ts'
import { assetsIn } from './engine/sparse-file.ts'
import { explainFolderError } from './data-folder.ts'

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

  /** A template by id; undefined if neither this engine nor the folder has it. */
  get(id: string): Template | undefined {
    const known = this.#templates.get(id)
    if (known) return known
    const path = join(this.#folder, `${id}.bin`)
    if (!ID_PATTERN.test(id) || !existsSync(path)) return undefined
    const template = Template.parse(readFileSync(path))
    this.#templates.set(id, template)
    return template
  }
}

/** Keeps this engine's template in the folder. No store may be made before it has. */
export async function keepTemplate(dataPath: string, engine: EngineParts): Promise<void> {
  const folder = join(dataPath, TEMPLATES_FOLDER)
  try {
    const { template } = parseVerifiedAssets(assetsIn(engine.assets))
    const path = join(folder, `${template.id}.bin`)
    if (existsSync(path)) return
    await mkdir(folder, { recursive: true })
    await writeFile(`${path}.new`, template.serialize(), { flush: true })
    await rename(`${path}.new`, path)
  } catch (error) {
    throw explainFolderError(folder, error)
  }
}
