/**
 * Empty stores that lie ready for tenants that do not exist yet. Making one takes an fsync, which
 * is most of what a new tenant's first client would wait for; a spare one is only given its name.
 * They are made some at a time, beside everything else, by the threads that Node has for files.
 *
 * They lie in the folder of the tenants, under names that no tenant can have and that are the same
 * in every life of the server: what a crash leaves behind is written over.
 */
import { existsSync, renameSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../../base/assert.ts'
import type { Clock, Timer } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Log } from '../../base/log.ts'
import type { StoreBlueprint } from './store-blueprint.ts'

export interface SpareStoresOptions {
  readonly tenantsPath: string
  /** Of the shard: each has spare stores of its own. */
  readonly index: number
  readonly clock: Clock
  readonly log: Log
  /** Default: `LIMITS.spareStoresMax`. */
  readonly countMax?: number
}

const FILE_MODE = 0o600
/** Not at once: the client that took the last one is still being served. */
const REFILL_AFTER_MS = 5

export class SpareStores implements Disposable {
  readonly #options: SpareStoresOptions
  readonly #countMax: number
  #blueprint: StoreBlueprint | undefined
  /** Whole, and on the disk. */
  readonly #ready: string[] = []
  /** Numbers whose files are not in use. */
  readonly #free: number[]
  readonly #numbers = new Map<string, number>()
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
    assert(!existsSync(path), 'a store is made once')
    this.#blueprint = blueprint
    const spare = this.#ready.pop()
    this.#refillSoon()
    if (spare === undefined) return false
    try {
      blueprint.renew(spare)
      renameSync(spare, path)
      return true
    } catch (error) {
      // Somebody has tidied the folder up, for example.
      this.#options.log.warn('a spare store cannot be used', { error })
      rmSync(spare, { force: true })
      return false
    } finally {
      this.#release(spare)
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
    for (const spare of this.#ready.splice(0)) rmSync(spare, { force: true })
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
    const { tenantsPath, index } = this.#options
    const path = join(tenantsPath, `${index}-${number}.spare`)
    this.#numbers.set(path, number)
    try {
      assert(this.#blueprint, 'somebody has asked for a store')
      await using file = await open(path, 'w', FILE_MODE)
      await file.writeFile(this.#blueprint.copy(path))
      await file.sync()
    } catch (error) {
      rmSync(path, { force: true })
      this.#release(path)
      throw error
    }
    if (this.#closed) rmSync(path, { force: true })
    else this.#ready.push(path)
  }

  /** Its file is gone from its place: another may have the name. */
  #release(path: string): void {
    const number = this.#numbers.get(path)
    assert(number !== undefined, 'a spare store has a number')
    this.#numbers.delete(path)
    this.#free.push(number)
  }
}
