/**
 * Which tenants are pinned, as a file that outlives the server:
 *
 *     DIR/pins.json    {"version": 1, "tenants": ["acme", "zeta"]}
 *
 * One small file of names, and not a mark in each store, because a start must know them all without
 * opening a store. Only the main thread writes it; a shard reads it when it starts. It is written
 * whole, beside its name, synced, and renamed: a reader sees the old list or the new one.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import { LIMITS } from '../../base/limits.ts'
import { explainFolderError } from './data-folder.ts'
import { syncFolder } from './durable-file.ts'

const FILE = 'pins.json'
const FORMAT_VERSION = 1
const FILE_MODE = 0o600

export class PinFile {
  readonly #path: string
  readonly #tenants: Set<TenantName>

  /**
   * @param dataPath the data folder
   * @throws PgnapError CONFIG_INVALID if the file was changed to something else, STORE_IO
   */
  constructor(dataPath: string) {
    this.#path = join(dataPath, FILE)
    this.#tenants = new Set(readPins(dataPath))
  }

  get names(): Iterable<TenantName> {
    return this.#tenants
  }

  has(tenant: TenantName): boolean {
    return this.#tenants.has(tenant)
  }

  /** Durable when it returns. @throws PgnapError PINS_EXHAUSTED, STORE_FULL, STORE_IO */
  add(tenant: TenantName): void {
    if (this.has(tenant)) return
    if (this.#tenants.size >= LIMITS.pinnedTenantsMax) {
      throw new PgnapError(
        'PINS_EXHAUSTED',
        `${this.#tenants.size} tenants are pinned, and there may be no more`,
        { hint: 'unpin another one: pgnap tenant list shows them; pgnap tenant unpin NAME' },
      )
    }
    this.#write([...this.#tenants, tenant])
    this.#tenants.add(tenant)
  }

  /** Durable when it returns. @throws PgnapError STORE_FULL, STORE_IO */
  delete(tenant: TenantName): void {
    if (!this.has(tenant)) return
    this.#write([...this.#tenants].filter((each) => each !== tenant))
    this.#tenants.delete(tenant)
  }

  #write(tenants: readonly TenantName[]): void {
    const text = `${JSON.stringify({ version: FORMAT_VERSION, tenants: tenants.toSorted() })}\n`
    try {
      writeFileSync(`${this.#path}.new`, text, { mode: FILE_MODE, flush: true })
      renameSync(`${this.#path}.new`, this.#path)
      syncFolder(dirname(this.#path))
    } catch (error) {
      throw explainFolderError(dirname(this.#path), error)
    }
  }
}

/** The names of the file; none if there is no file. Throws as {@link PinFile}. */
export function readPins(dataPath: string): TenantName[] {
  const path = join(dataPath, FILE)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw explainFolderError(dataPath, error)
  }
  const pins = parsed(text)
  if (!pins) {
    throw new PgnapError('CONFIG_INVALID', `${path} is not a list of pinned tenants`, {
      hint: `mend it, or remove it and pin again; it holds {"version":1,"tenants":["acme"]}`,
    })
  }
  return pins
}

function parsed(text: string): TenantName[] | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return undefined
    if (!('version' in value) || value.version !== FORMAT_VERSION) return undefined
    const names: unknown = 'tenants' in value ? value.tenants : undefined
    if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) return undefined
    return names.length <= LIMITS.pinnedTenantsMax ? (names as TenantName[]) : undefined
  } catch {
    // Whatever is wrong with it, the caller says so.
    return undefined
  }
}
