/**
 * Empty stores that lie ready for tenants that do not exist yet. Making one takes an fsync, which
 * is most of what a new tenant's first client would wait for; a spare one is only given its name.
 * They are made some at a time, beside everything else, by the threads that Node has for files.
 *
 * They lie in the folder of the tenants, under names that no tenant can have and that are the same
 * in every life of the server: what a crash leaves behind is replaced.
 */
import { renameSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../../base/assert.ts'
import type { Clock, Timer } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Log } from '../../base/log.ts'
import type { StoreBlueprint } from './store-blueprint.ts'
import { isThere } from './tenant-files-on-disk.ts'

export interface SpareStoresOptions {
  readonly tenantsPath: string
  /** Of the shard: each has spare stores of its own. */
  readonly index: number
  readonly clock: Clock
  readonly log: Log
  /** Default: `LIMITS.spareStoresMax`. */
  readonly countMax?: number
}

interface Spare {
  readonly path: string
  /** Of its name. */
  readonly number: number
  /** On the clock that never goes back. */
  readonly madeMs: number
}

const FILE_MODE = 0o600
/** Not at once: the client that took the last one is still being served. */
const REFILL_AFTER_MS = 5

export class SpareStores implements Disposable {
  readonly #options: SpareStoresOptions
  readonly #countMax: number
  #blueprint: StoreBlueprint | undefined
  /** Whole, and on the disk; the newest last. */
  #ready: Spare[] = []
  /** Numbers whose files are not in use. */
  readonly #free: number[]
  #timer: Timer | undefined
  #filling: Promise<void> | undefined
  #closed = false

  constructor(options: SpareStoresOptions) {
    this.#options = options
    this.#countMax = options.countMax ?? LIMITS.spareStoresMax
    this.#free = Array.from({ length: this.#countMax }, (_, number) => number)
  }

  /** How many lie ready. */
  get count(): number {
    return this.#ready.length
  }

  /**
   * Gives a spare store the name `path`, where nothing must be; the name outlives the machine once
   * its folder is synced. False: there is none, the caller makes one, and is told what is wrong
   * with the disk, if anything is. There will be some soon.
   */
  take(path: string, blueprint: StoreBlueprint): boolean {
    assert(!isThere(path), 'a store is made once')
    this.#blueprint = blueprint
    this.#dropOld()
    const spare = this.#ready.pop()
    this.#refillSoon()
    if (spare === undefined) return false
    try {
      blueprint.renew(spare.path)
      renameSync(spare.path, path)
      return true
    } catch (error) {
      // Somebody has tidied the folder up, for example.
      this.#options.log.warn('a spare store cannot be used', { error })
      this.#remove(spare.path)
      return false
    } finally {
      this.#free.push(spare.number)
    }
  }

  /** Settles when whatever is being made is there. */
  async settled(): Promise<void> {
    await this.#filling
  }

  /** Removes what lies ready. */
  [Symbol.dispose](): void {
    this.#closed = true
    this.#timer?.cancel()
    for (const { path } of this.#ready.splice(0)) this.#remove(path)
  }

  /** A file says when it was made, which is when its tenant is said to have been made. */
  #dropOld(): void {
    const sinceMs = this.#options.clock.monotonicMs() - LIMITS.spareStoreAgeMaxMs
    for (const { path, number, madeMs } of this.#ready) {
      if (madeMs >= sinceMs) continue
      this.#remove(path)
      this.#free.push(number)
    }
    this.#ready = this.#ready.filter(({ madeMs }) => madeMs >= sinceMs)
  }

  #refillSoon(): void {
    if (this.#timer || this.#filling || this.#closed) return
    if (this.#ready.length > this.#countMax / 2) return
    this.#timer = this.#options.clock.setTimer(REFILL_AFTER_MS, () => {
      this.#timer = undefined
      this.#filling = this.#refill().finally(() => (this.#filling = undefined))
    })
  }

  /** Together: one flush of the file system's journal serves all of them. */
  async #refill(): Promise<void> {
    const made = await Promise.allSettled(this.#free.splice(0).map((number) => this.#make(number)))
    const failed = made.find((one) => one.status === 'rejected')
    // Whoever comes next makes a store for himself, and is told what is wrong with the disk.
    if (failed) this.#options.log.warn('no spare stores', { error: failed.reason as unknown })
  }

  async #make(number: number): Promise<void> {
    const { tenantsPath, index, clock } = this.#options
    const path = join(tenantsPath, `${index}-${number}.spare`)
    try {
      assert(this.#blueprint, 'somebody has asked for a store')
      const bytes = this.#blueprint.copy(path)
      // What a crash has left is not written over: it would have the time of a former life.
      rmSync(path, { force: true })
      await using file = await open(path, 'wx', FILE_MODE)
      await file.writeFile(bytes)
      await file.sync()
    } catch (error) {
      this.#remove(path)
      this.#free.push(number)
      throw error
    }
    if (this.#closed) this.#remove(path)
    else this.#ready.push({ path, number, madeMs: clock.monotonicMs() })
  }

  #remove(path: string): void {
    try {
      rmSync(path, { force: true })
    } catch (error) {
      this.#options.log.warn('a spare store cannot be removed', { error })
    }
  }
}
