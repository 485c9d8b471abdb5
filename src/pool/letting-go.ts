/**
 * Who has begun a transaction in the backend, has only read in it, or has failed, and is thinking,
 * gives the backend up to whoever waits for it: the transaction floats from then on
 * (`floating-transaction.ts`), and goes on in the backend when its client next has it.
 *
 * Whether it has only read Postgres's hooks tell, as in a fork (`write-watch.ts`). They hang in the
 * backend from a BEGIN that came by itself to the end of its transaction, so that whoever opens
 * none pays nothing for it.
 *
 * It must never end a transaction of which anything would be lost.
 */
import type { Clock } from '../base/clock.ts'
import type { Slot, TransactionStatus } from '../engine/engine.ts'
import { ownQuery, readAnswer } from './backend-query.ts'
import { float, goOn } from './floating-transaction.ts'
import { leavesPortal, rollBack } from './floating-transaction.ts'
import { type LiveClient, type LiveTenant, setFloating } from './pool-client.ts'
import { type WatchedTransaction, watchTransaction } from './pool-client.ts'
import type { PoolEvent, PoolLimits } from './pool-model.ts'
import { isSame } from './session-defaults.ts'
import { onlyBegins } from './reading-batch.ts'
import { internalAmongSql } from './reader-forks.ts'

/** A batch that has run. */
interface RunBatch {
  readonly messages: Uint8Array
  readonly answer: Uint8Array
  readonly complete: boolean
  /** When it began. */
  readonly was: TransactionStatus
}

export interface LettingGoOptions {
  readonly clock: Clock
  readonly limits: Pick<PoolLimits, 'slotThinkMs'>
  readonly event: (event: PoolEvent) => void
  /** The slot of a tenant threw. */
  readonly onLost: (tenant: LiveTenant, error: unknown) => void
}

export class LettingGo {
  readonly #options: LettingGoOptions
  /** Who has the backend of a tenant, in a transaction that might float. */
  readonly #holders = new WeakMap<LiveTenant, LiveClient>()
  /** Tenants in which somebody waits, and that will be looked at. */
  readonly #due = new WeakSet<LiveTenant>()

  constructor(options: LettingGoOptions) {
    this.#options = options
  }

  /** Takes in a batch of a client that has the backend, just after it has run. */
  note(client: LiveClient, slot: Slot, { messages, answer, complete, was }: RunBatch): void {
    const { transactionStatus: status } = slot
    const { watched } = client
    if (status === 'idle') {
      if (watched) this.#forget(client)
    } else if (was === 'idle') {
      if (!complete || !onlyBegins(messages)) return
      client.watched = watchTransaction(slot)
    } else if (watched && (!complete || leavesPortal(messages, answer))) this.#forget(client)
    if (!client.watched) return
    this.#holders.set(client.tenant, client)
    if (client.tenant.entry.waiting.size > 0) this.wanted(client.tenant)
  }

  /** Somebody waits for the backend of `tenant`. */
  wanted(tenant: LiveTenant): void {
    if (this.#due.has(tenant) || !this.#holderOf(tenant)?.watched) return
    this.#due.add(tenant)
    const { clock, limits } = this.#options
    clock.setTimer(limits.slotThinkMs, () => {
      // Never between a batch and the use of its answer.
      queueMicrotask(() => {
        this.#due.delete(tenant)
        this.#review(tenant)
      })
    })
  }

  #forget(client: LiveClient): void {
    const { watched } = client
    client.watched = undefined
    if (watched?.slot.watch?.isWatching(watched.watch)) watched.slot.watch.endWatch()
  }

  #holderOf(tenant: LiveTenant): LiveClient | undefined {
    const client = this.#holders.get(tenant)
    return client && client.entry === tenant.entry.holder ? client : undefined
  }

  #review(tenant: LiveTenant): void {
    const client = this.#holderOf(tenant)
    if (!client?.watched || tenant.entry.phase !== 'awake' || tenant.entry.waiting.size === 0)
      return
    const { clock, limits, event, onLost } = this.#options
    const nowMs = clock.monotonicMs()
    const thinksSinceMs = client.endedMs ?? nowMs
    // It has said something meanwhile, or is about to be answered.
    if (client.entry.phase !== 'holding' || nowMs < thinksSinceMs + limits.slotThinkMs) {
      return this.wanted(tenant)
    }
    let isFree: boolean
    try {
      isFree = letGo(client, client.watched)
      this.#forget(client)
    } catch (error) {
      return onLost(tenant, error)
    }
    if (isFree) event({ type: 'floated', client: client.entry })
  }
}

/** Throws what the slot throws. @returns whether the client's transaction floats now */
function letGo(client: LiveClient, watched: WatchedTransaction): boolean {
  const { slot, open, sessions } = client.tenant
  if (!slot || slot !== watched.slot || !open) return false
  const floating = mayFloat(watched) ? float(slot) : undefined
  if (!floating) return false
  rollBack(slot)
  // What a rollback has written is in the store before anybody else is told of anything.
  open.files.commit()
  if (sessions.pinned(slot) === client) {
    goOn(slot, floating)
    return false
  }
  setFloating(client, floating)
  return true
}

/** Of a transaction that has failed nothing is left but its savepoints, and what outlives it. */
function mayFloat({ slot, watch: number, settings }: WatchedTransaction): boolean {
  const { watch } = slot
  if (!watch?.isWatching(number) || watch.lasting) return false
  if (slot.transactionStatus === 'failed') return true
  if (watch.seen !== undefined || !isSame(settings, slot.session.settings)) return false
  if (watch.calledFunctions.size === 0) return true
  const { hasSnapshot } = slot.session
  const { rows, refusal } = readAnswer(
    slot.run(ownQuery(internalAmongSql([...watch.calledFunctions]))),
  )
  slot.session.hasSnapshot = hasSnapshot
  return refusal === undefined && rows.length === 0
}
