/** The batches that wait for their turn, by client; who is next is decided by `pool-state.ts`. */
import type { LiveClient, PendingBatch } from './pool-client.ts'
import type { ClientEntry } from './pool-model.ts'

export class WaitingBatches {
  readonly #clients = new Map<ClientEntry, LiveClient>()

  /** Keeps a copy of a batch; the promise is that of its answer. */
  add(
    client: LiveClient,
    messages: Uint8Array,
    { complete, sinceMs }: Pick<PendingBatch, 'complete' | 'sinceMs'>,
  ): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    client.pending = { messages: new Uint8Array(messages), complete, sinceMs, resolve, reject }
    this.#clients.set(client.entry, client)
    return promise
  }

  /** Whose batch it is, while it waits. */
  clientOf(entry: ClientEntry): LiveClient | undefined {
    return this.#clients.get(entry)
  }

  /** Takes a batch off the books, to be run or refused. */
  take(entry: ClientEntry): PendingBatch | undefined {
    const client = this.#clients.get(entry)
    if (!client) return undefined
    this.#clients.delete(entry)
    const pending = client.pending
    client.pending = undefined
    return pending
  }
}
