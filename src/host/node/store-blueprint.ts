/**
 * Makes empty stores by writing their bytes. SQLite needs 2.6 ms and a handful of fsyncs to make a
 * database of a few tables; but all empty stores are the same but for two facts, so one is made by
 * SQLite itself, read, and written again for each new tenant with other facts in their places.
 *
 * The facts keep their lengths (a store id has 32 digits, a time 6 bytes as SQLite stores it), and
 * a SQLite file has no checksum, so nothing else in it depends on them.
 *
 * Source: sqlite.org/fileformat2.html, sections 1 (no checksums) and 2.1 (serial type 5).
 */
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { assert } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import { explainFolderError } from './data-folder.ts'
import { writeDurably } from './durable-file.ts'
import { isThere } from './tenant-files-on-disk.ts'

/** An empty store as SQLite made it, and the facts that are different in each. */
export interface MadeStore {
  readonly storeId: string
  readonly createdMs: number
}

export interface StoreBlueprintOptions {
  /** Makes an empty store in a new file and closes it. */
  readonly make: (path: string) => MadeStore
  readonly clock: Clock
  readonly random: Random
}

const STORE_ID_BYTES = 16
/** A time is stored in 6 bytes from here on: since 1978. */
const SIX_BYTES_MIN = 2 ** 38
interface Blueprint {
  readonly bytes: Buffer
  readonly storeIdAt: readonly number[]
  readonly createdAt: readonly number[]
}

export class StoreBlueprint {
  readonly #options: StoreBlueprintOptions
  #blueprint: Blueprint | undefined

  constructor(options: StoreBlueprintOptions) {
    this.#options = options
  }

  /**
   * Makes an empty store at `path`, where nothing must be: it is there whole or not at all. Its
   * name outlives the machine once its folder is synced.
   * @throws PgnapError STORE_FULL, STORE_IO, CONFIG_INVALID, and what `make` throws
   */
  write(path: string): void {
    if (Math.floor(this.#options.clock.nowMs()) < SIX_BYTES_MIN) {
      return void this.#options.make(path)
    }
    const bytes = this.copy(path)
    try {
      assert(!isThere(path), 'a store is made once')
      writeDurably(`${path}.new`, bytes)
      renameSync(`${path}.new`, path)
    } catch (error) {
      rmSync(`${path}.new`, { force: true })
      throw explainFolderError(dirname(path), error)
    }
  }

  /**
   * The bytes of an empty store that is like no other, made now. The first time one is drawn beside
   * `path`. @throws what `make` throws
   */
  copy(path: string): Buffer {
    const { clock, random } = this.#options
    const { bytes, storeIdAt, createdAt } = (this.#blueprint ??= this.#draw(path))
    const copy = Buffer.from(bytes)
    const storeId = Buffer.from(random.bytes(STORE_ID_BYTES)).toString('hex')
    for (const at of storeIdAt) copy.write(storeId, at, 'latin1')
    for (const at of createdAt) copy.writeUIntBE(Math.floor(clock.nowMs()), at, 6)
    return copy
  }

  /** Says in the file of such a store, which nobody has opened, that it was made now. */
  renew(path: string): void {
    assert(this.#blueprint, 'a copy has been made')
    const time = Buffer.alloc(6)
    time.writeUIntBE(Math.floor(this.#options.clock.nowMs()), 0, 6)
    const descriptor = openSync(path, 'r+')
    try {
      for (const at of this.#blueprint.createdAt) writeSync(descriptor, time, 0, 6, at)
    } finally {
      closeSync(descriptor)
    }
  }

  /** The first one is made by SQLite, beside the place where it is wanted. */
  #draw(path: string): Blueprint {
    const drawn = `${path}.blueprint`
    rmSync(drawn, { force: true })
    try {
      const { storeId, createdMs } = this.#options.make(drawn)
      const bytes = readFileSync(drawn)
      const time = Buffer.alloc(6)
      time.writeUIntBE(createdMs, 0, 6)
      const storeIdAt = placesOf(bytes, Buffer.from(storeId, 'latin1'))
      const createdAt = placesOf(bytes, time)
      assert(storeIdAt.length === 1, 'a store says once who it is')
      assert(createdAt.length === 2, 'a store says when it was made, and from when it has history')
      return { bytes, storeIdAt, createdAt }
    } finally {
      rmSync(drawn, { force: true })
    }
  }
}

function placesOf(bytes: Buffer, wanted: Buffer): number[] {
  const found: number[] = []
  for (let at = bytes.indexOf(wanted); at >= 0; at = bytes.indexOf(wanted, at + 1)) found.push(at)
  return found
}
