/** A bucket in memory whose puts wait until they are let through, or fail on order. */
import { PgnapError } from '../../src/base/errors.ts'
import type { Bucket, StoredObject } from '../../src/medium/bucket.ts'

export class MemoryBucket implements Bucket {
  readonly objects: Map<string, StoredObject> = new Map()
  /** Puts that were asked for, by the bytes of what they bring. */
  readonly asked: number[] = []
  /** What the next puts fail with, before anything is written. */
  failure: Error | undefined
  #held: PromiseWithResolvers<void> | undefined
  #tags = 0

  /** Puts wait from now on. */
  hold(): void {
    this.#held ??= Promise.withResolvers()
  }

  /** Those that wait go on, and the next ones do not wait. */
  release(): void {
    this.#held?.resolve()
    this.#held = undefined
  }

  async tagOf(key: string): Promise<string | undefined> {
    return this.objects.get(key)?.tag
  }

  async get(key: string): Promise<StoredObject | undefined> {
    const found = this.objects.get(key)
    return found && { ...found, bytes: found.bytes.slice() }
  }

  async put(key: string, bytes: Uint8Array, tag: string | undefined): Promise<string> {
    this.asked.push(bytes.length)
    await this.#held?.promise
    if (this.failure) throw this.failure
    if (this.objects.get(key)?.tag !== tag) throw new PgnapError('STORE_FENCED', 'somebody else')
    const next = String(++this.#tags)
    this.objects.set(key, { bytes: new Uint8Array(bytes), tag: next })
    return next
  }
}
