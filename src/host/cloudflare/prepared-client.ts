/**
 * A client of a pool over a lent slot: before each batch it is seen to that there is a real slot to
 * be had, which may have to be made, and that its tenant is in it. From then on everything happens
 * at once. To its pool the tenant was awake all the time; whoever asks how long it took is told
 * what it was.
 */
import { keptBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import type { TransactionStatus } from '../../engine/engine.ts'
import type { LentSlot } from '../../engine/lent-slot.ts'
import type { SlotShare } from '../../engine/slot-share.ts'
import type { BatchTimings, PoolClient } from '../../pool/pool-client.ts'

export interface PreparedClientOptions {
  readonly share: Pick<SlotShare, 'isReady' | 'preparing'>
  /** The slot of the client's pool, once it has one. */
  readonly lent: () => LentSlot | undefined
  readonly clock: Pick<Clock, 'monotonicMs'>
  /** Told how long it took to put the tenant back into the slot. Default: nobody is. */
  readonly onSwap?: (ms: number) => void
  /** Waits until there is a slot. Default: it is waited for. */
  readonly waiting?: (made: () => Promise<void>) => Promise<void>
  /** Told when something has been run. Default: nobody is. */
  readonly onRan?: () => void
  /** Told when it has gone. Default: nobody is. */
  readonly onClosed?: () => void
}

export class PreparedClient implements PoolClient {
  readonly #client: PoolClient
  readonly #share: Pick<SlotShare, 'isReady' | 'preparing'>
  readonly #lent: () => LentSlot | undefined
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #onSwap: PreparedClientOptions['onSwap']
  readonly #waiting: NonNullable<PreparedClientOptions['waiting']>
  readonly #onRan: PreparedClientOptions['onRan']
  readonly #onClosed: PreparedClientOptions['onClosed']
  /** What it took to put the tenant back into the slot for the last batch; undefined: nothing. */
  #swapMs: number | undefined

  constructor(client: PoolClient, options: PreparedClientOptions) {
    this.#client = client
    this.#clock = options.clock
    this.#share = options.share
    this.#lent = options.lent
    this.#onSwap = options.onSwap
    this.#waiting = options.waiting ?? ((made) => made())
    this.#onRan = options.onRan
    this.#onClosed = options.onClosed
  }

  run(messages: Uint8Array, complete: boolean): Uint8Array | Promise<Uint8Array> {
    return this.#prepared(() => this.#client.run(messages, complete))
  }

  begin(messages: Uint8Array): Uint8Array | Promise<Uint8Array> {
    return this.#prepared(() => this.#client.begin(messages))
  }

  get mayGoOn(): boolean {
    return this.#client.mayGoOn
  }

  get transactionStatus(): TransactionStatus {
    return this.#client.transactionStatus
  }

  get ranMs(): number | undefined {
    return this.#client.ranMs
  }

  get waitingSinceMs(): number | undefined {
    return this.#client.waitingSinceMs
  }

  get timings(): BatchTimings | undefined {
    const { timings } = this.#client
    if (!timings || this.#swapMs === undefined || timings.wokenFrom !== 'awake') return timings
    return { ...timings, wakeMs: this.#swapMs, wokenFrom: 'napping' }
  }

  measure(): void {
    this.#client.measure()
  }

  cancel(): void {
    this.#client.cancel()
  }

  close(): void {
    this.#client.close()
    this.#onClosed?.()
  }

  #prepared(run: () => Uint8Array | Promise<Uint8Array>): Uint8Array | Promise<Uint8Array> {
    if (!this.#share.isReady(this.#lent())) return this.#later(run)
    this.#bringIn()
    return this.#told(run())
  }

  /** Who has to wait runs later. A failure may have taken memory, too. */
  #told(answer: Uint8Array | Promise<Uint8Array>): Uint8Array | Promise<Uint8Array> {
    if (answer instanceof Promise) return answer.finally(() => this.#onRan?.())
    this.#onRan?.()
    return answer
  }

  #bringIn(): void {
    const startMs = this.#clock.monotonicMs()
    const isSwapped = this.#lent()?.bringIn() ?? false
    this.#swapMs = isSwapped ? this.#clock.monotonicMs() - startMs : undefined
    if (this.#swapMs !== undefined) this.#onSwap?.(this.#swapMs)
  }

  async #later(run: () => Uint8Array | Promise<Uint8Array>): Promise<Uint8Array> {
    const preparing = (): Promise<void> | undefined => this.#share.preparing(this.#lent())
    for (let made = preparing(); made; made = preparing()) {
      const slot = made
      await this.#waiting(() => slot)
    }
    this.#bringIn()
    return await this.#told(keptBytes(run()))
  }
}
