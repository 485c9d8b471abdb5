/** Limits that a session has set itself, counted for as long as its client is thinking. */
import type { Clock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { Slot, TransactionStatus } from '../engine/engine.ts'
import { NO_TIMEOUTS } from '../engine/timeout-memory.ts'
import { fatalError } from './backend-query.ts'
import { ClientLimits } from './client-limits.ts'
import type { LiveClient } from './pool-client.ts'
import { ClientEntry, type PoolEvent } from './pool-model.ts'
import { lockWaitedTooLong } from './pool-rejection.ts'
import type { PoolCounters } from './pool-statistics.ts'

export interface LimitsHost {
  readonly clock: Clock
  readonly event: (event: PoolEvent) => void
}

/** What is said of a batch that has left the backend to itself. */
export interface Rest {
  readonly status: TransactionStatus
  readonly startMs: number
  /** It has ended with ReadyForQuery. */
  readonly complete: boolean
}

/** A batch of `client` has left its session in this state. */
export function noteLimits(
  client: LiveClient,
  { session: { timeouts } }: { readonly session: Pick<Slot['session'], 'timeouts'> },
  { status, startMs, complete }: Rest,
  { clock, event }: LimitsHost,
): void {
  if (!client.limits && timeouts === NO_TIMEOUTS) return
  client.limits ??= new ClientLimits({
    clock,
    dismiss: (error) => client.dismiss(error),
    giveUp: (code) => {
      if (client.giveUpLock) return client.giveUpLock(lockWaitedTooLong(code))
      const waitsForLock = client.tenant.entry.holder instanceof ClientEntry
      if (code === 'LOCK_TIMEOUT' && !waitsForLock) return
      event({ type: 'waitCanceled', client: client.entry, code })
    },
  })
  client.limits.rests(timeouts, complete ? status : 'pipeline', startMs)
}

/** Something has failed in a batch of `client`, or has ended it by its transaction_timeout. */
export function noteErrors(
  client: LiveClient,
  answer: Uint8Array,
  { errors }: Pick<PoolCounters, 'errors'>,
): void {
  errors.recordAnswer(answer)
  const fatal = fatalError(answer)
  if (!fatal) return
  const error = transactionTimeout(fatal.message)
  client.ending ??= error
  queueMicrotask(() => client.dismiss(error))
}

export function transactionTimeout(message: string): PgnapError {
  return new PgnapError('TRANSACTION_TIMEOUT', message, {
    hint: 'keep transactions short, or raise transaction_timeout',
  })
}
