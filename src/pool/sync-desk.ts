/**
 * Whether a batch's commit keeps the shard's thread until the disk has it, or only its answer.
 *
 * A sync is a fifth of a millisecond in which a thread that waits for it runs nothing, although the
 * disk could take the syncs of several tenants at once. So while tenants have the thread by turns,
 * a commit is written, its sync is left to another thread, and only the tenant itself stands still
 * until that has said yes: its client keeps the backend, so no batch, nap, upkeep or move can come
 * in between. Who has the thread to itself waits on the spot, because there is nobody to run, and
 * the detour over another thread costs more than it saves.
 *
 * It must never say that something is durable that is not: `true` and a kept promise mean that the
 * store has it (promise 1).
 */
import { assert } from '../base/assert.ts'
import type { TransactionStatus } from '../engine/engine.ts'
import { commitIfDue } from './commit-rule.ts'
import type { LiveTenant } from './pool-client.ts'
import type { BatchResult } from './pool-model.ts'

/**
 * For so long after a batch its tenant counts as one that uses the thread: a few inserts. From its
 * end, commit and all, so that a slow disk does not make neighbours look like strangers.
 */
const NEIGHBOUR_MS = 1

/** A batch that has run, and is not answered before the disk has it. */
export interface SyncedBatch {
  readonly answer: Uint8Array
  readonly result: BatchResult
  readonly ranMs: number
  /** For the log of slow batches. */
  readonly said: readonly string[]
}

export class SyncDesk {
  /** Whose batch was the last one, when it ended, and when the last one of anybody else did. */
  #last: LiveTenant | undefined
  #endedMs = Number.NEGATIVE_INFINITY
  #otherEndedMs = Number.NEGATIVE_INFINITY

  /**
   * Commits what a batch has left dirty, if it is due. True: it is durable. A promise: it will be
   * when that is kept; if it is broken, the slot and the open store are not to be trusted any more.
   * False: nothing was due.
   * @param startMs when the batch began
   * @throws what `commitIfDue` throws
   */
  commit(tenant: LiveTenant, status: TransactionStatus, startMs: number): boolean | Promise<void> {
    const { open } = tenant
    assert(open, 'a batch ran in a loaded tenant')
    const leaves = this.#isCrowded(tenant, startMs) || open.isElsewhere === true
    if (!leaves || !open.files.dirty || !open.commitAhead) return commitIfDue(open.files, status)
    let committed = false
    const synced = open.commitAhead(() => {
      committed = commitIfDue(open.files, status)
    })
    return synced ?? committed
  }

  /** The thread is done with the batch that was committed last. */
  ended(nowMs: number): void {
    this.#endedMs = nowMs
  }

  #isCrowded(tenant: LiveTenant, startMs: number): boolean {
    if (tenant !== this.#last) {
      this.#otherEndedMs = this.#endedMs
      this.#last = tenant
    }
    return startMs - this.#otherEndedMs <= NEIGHBOUR_MS
  }
}
