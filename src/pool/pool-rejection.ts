/**
 * The words in which the pool says no. Each one names the limit and how to raise it (promise 6).
 */
import { unreachable } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'
import type { WaitLimit } from './client-limits.ts'
import { ClientEntry, type PoolEffect, type PoolLimits } from './pool-model.ts'

/** What a client is told when its batch is turned away. */
export function rejectionError(
  effect: Extract<PoolEffect, { type: 'reject' }>,
  limits: PoolLimits,
): PgnapError {
  switch (effect.code) {
    case 'QUEUE_FULL':
      return new PgnapError('QUEUE_FULL', 'too many requests are waiting for this database', {
        detail: `tenantQueueMax is ${limits.tenantQueueMax}, shardQueueMax ${limits.shardQueueMax}`,
        hint: 'keep transactions short, connect with fewer clients, or raise --slots',
      })
    case 'QUERY_WAIT_TIMEOUT':
      return waitedTooLong(effect.client, limits)
    case 'QUERY_CANCELED':
      return waitCanceled()
    case 'LOCK_TIMEOUT':
      return new PgnapError('LOCK_TIMEOUT', 'canceling statement due to lock timeout', {
        detail: 'another client keeps the backend of this database',
        hint: 'let that client end what keeps the database, or raise lock_timeout',
      })
    case 'STATEMENT_TIMEOUT':
      return new PgnapError('STATEMENT_TIMEOUT', 'canceling statement due to statement timeout', {
        detail: 'it waited for its turn and had not begun',
        hint: 'keep transactions short, or raise statement_timeout',
      })
    case 'SHUTTING_DOWN':
      return shuttingDown()
    case 'SLOT_LOST':
      return batchFailure(effect.cause)
    default:
      return unreachable(effect.code)
  }
}

/** Somebody has cancelled what a client waits for. */
export function waitCanceled(): PgnapError {
  return new PgnapError('QUERY_CANCELED', 'canceling statement due to user request')
}

/** A client has waited for an advisory lock for as long as its session allows. */
export function lockWaitedTooLong(limit: WaitLimit): PgnapError {
  const setting = limit === 'LOCK_TIMEOUT' ? 'lock_timeout' : 'statement_timeout'
  return new PgnapError(limit, `canceling statement due to ${setting.replace('_', ' ')}`, {
    detail: 'another session of this database holds the advisory lock',
    hint: `let that session give the lock back, or raise ${setting}`,
  })
}

/** It cannot be done anew, or keeps the backend to itself, and so nobody could give it the lock. */
export function mayNotWait(): PgnapError {
  return new PgnapError('LOCK_TIMEOUT', 'canceling statement due to lock timeout', {
    detail: 'another session of this database holds the advisory lock',
    hint: 'close cursors WITH HOLD, and PREPARE or DEALLOCATE in a query before the lock’s own',
  })
}

/** Who can be named is named: a neighbour in one's own house can be asked to hurry. */
function waitedTooLong({ tenant }: ClientEntry, { queryWaitMs }: PoolLimits): PgnapError {
  if (tenant.paused) {
    return new PgnapError('QUERY_WAIT_TIMEOUT', 'the request waited too long for its database', {
      detail: `waited ${queryWaitMs} ms while it was kept at rest: it is paused, or being copied`,
      hint: 'try again when it has been copied, or resumed (RESUME in the database pgnap)',
    })
  }
  const isHeld = tenant.holder instanceof ClientEntry && tenant.holder.phase === 'holding'
  const [why, hint] = isHeld
    ? [
        'for another client of this database, which keeps it by an open transaction, or a cursor' +
          ' WITH HOLD',
        'let that client end what keeps the database, or raise --query-wait-timeout',
      ]
    : [
        'for a backend or a slot that stayed in use',
        'keep transactions short, or raise --query-wait-timeout or --slots',
      ]
  return new PgnapError('QUERY_WAIT_TIMEOUT', 'the request waited too long for its database', {
    detail: `waited ${queryWaitMs} ms ${why}`,
    hint,
  })
}

/** What a newcomer is told while the pool drains. */
export function shuttingDown(): PgnapError {
  return new PgnapError('SHUTTING_DOWN', 'the server is shutting down', {
    hint: 'connect again when it has been restarted',
  })
}

/**
 * An error that ended a batch, as the client is told: ours as it is, anything else as SLOT_LOST.
 */
export function batchFailure(error: unknown): PgnapError {
  if (error instanceof PgnapError) return error
  const options = {
    detail: 'what was acknowledged is safe; the open transaction, if any, was rolled back',
    hint: 'try again: the next request starts from the stored data',
  }
  return new PgnapError(
    'SLOT_LOST',
    'the database process ended unexpectedly',
    error === undefined ? options : { ...options, cause: error },
  )
}

/** What a batch is told whose client left while it waited. */
export function clientGone(): PgnapError {
  return new PgnapError('QUERY_CANCELED', 'the client has gone')
}

/** A client's settings or role are not possible any more: it may not go on without them. */
export function sessionRefused(refusal: string): PgnapError {
  return new PgnapError('SLOT_LOST', 'the session of this connection could not be restored', {
    detail: `setting it up again said: ${refusal}`,
    hint: 'connect again; perhaps its role was dropped',
  })
}

/** The backend in which a client had a session has ended, by no fault of its own. */
export function sessionEnded(cause?: PgnapError): PgnapError {
  // A disk without room is for somebody to look at, and no reason to connect again at once.
  if (cause?.code === 'STORE_FULL' || cause?.code === 'STORE_IO') return cause
  return new PgnapError('SLOT_LOST', 'the session of this connection has ended', {
    detail: 'the database process, which all connections to this database share, has ended',
    hint: 'connect again: what was acknowledged is safe',
  })
}

/**
 * Its tenant's memory was given to others, and what the client had set up could not be read out
 * then.
 */
export function sessionTaken(): PgnapError {
  return new PgnapError('SLOT_LOST', 'the session of this connection could not be kept', {
    detail:
      'the memory of its database was needed for another one, and had prepared statements of this' +
      ' session, temporary tables, advisory locks or cursors in it',
    hint: 'connect again: what was acknowledged is safe',
  })
}

/** A client's settings, statements or transaction went with an image that could not be kept. */
export function sessionLost(): PgnapError {
  return new PgnapError('SLOT_LOST', 'the session of this connection could not be kept', {
    detail: 'its tenant was napping, and there was no room for its memory image',
    hint: 'connect again; raise --image-cache if this happens often',
  })
}
