/**
 * The batches that wait for their turn, each with the client that will get its answer. Who waits,
 * and for what, is decided by `pool-state.ts`; here is what each of them wants to run.
 */
import type { PgnapError } from '../base/errors.ts'
import { failFloating, type LiveClient, type PendingBatch } from './pool-client.ts'
import type { ClientEntry } from './pool-model.ts'

/** A batch as the client brought it. */
export type NewBatch = Pick<PendingBatch, 'messages' | 'complete' | 'sinceMs'>

export class PendingBatches {
  readonly #clients = new Map<ClientEntry, LiveClient>()

  /** Puts a batch on the books; its messages are copied. Settles with its answer. */
  add(client: LiveClient, { messages, complete, sinceMs }: NewBatch): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    client.pending = { messages: new Uint8Array(messages), complete, sinceMs, resolve, reject }
    client.mayGoOn = false
    this.#clients.set(client.entry, client)
    return promise
  }

  clientOf(entry: ClientEntry): LiveClient | undefined {
    return this.#clients.get(entry)
  }

  /** Takes a batch off the books. */
  settle(entry: ClientEntry): PendingBatch | undefined {
    const client = this.#clients.get(entry)
    if (!client) return undefined
    this.#clients.delete(entry)
    const pending = client.pending
    client.pending = undefined
    return pending
  }

  /** Turns a batch away, unless its client has gone. */
  reject(entry: ClientEntry, error: PgnapError): void {
    const client = this.#clients.get(entry)
    if (client) failFloating(client)
    this.settle(entry)?.reject(error)
  }
}
