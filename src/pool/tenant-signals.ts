/**
 * What clients of a tenant know of each other, by `pg_stat_activity`, and what they send each other
 * by `pg_cancel_backend` and `pg_terminate_backend`. While one of them runs that, nobody else of
 * them has the thread: the others are idle, in a transaction perhaps, or wait, and one may have a
 * statement in the backend that has paused, if this is a fork of it. To cancel who is idle means
 * nothing, as in a server; who is terminated is sent away, whatever it does.
 *
 * Signals are not part of a transaction: they are sent even if the statement fails afterwards.
 */
import type { Clock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import type { SignalReceiver } from '../engine/backend-signals.ts'
import type { SessionFacts } from '../engine/session-activity.ts'
import type { LiveClient, LiveTenant } from './pool-client.ts'
import { statementIn } from '../base/message-frames.ts'
import { processIdOf } from './process-id.ts'

export function signalReceiverOf(tenant: LiveTenant, clock: Clock): SignalReceiver {
  const { clients } = tenant
  const find = (processId: number): LiveClient | undefined =>
    [...clients].find((client) => client.number !== 0 && processIdOf(client) === processId)
  return {
    sessions: () => {
      // Times are kept on the clock that never goes back.
      const sinceMs = clock.nowMs() - clock.monotonicMs()
      // The pool's own have no number.
      const known = [...clients].filter(({ number }) => number !== 0)
      return known.map((client) => factsOf(client, tenant, sinceMs))
    },
    has: (processId) => find(processId) !== undefined,
    send(processId, signal) {
      const client = find(processId)
      if (!client) return
      if (signal === 'terminate') terminate(client)
      else cancelWait(client)
    },
  }
}

function factsOf(client: LiveClient, tenant: LiveTenant, sinceMs: number): SessionFacts {
  const { entry, askedMs, endedMs, transactionStatus, waitingSinceMs, floating } = client
  const { pending, running } = client
  const { sessions, slot } = tenant
  const requestMs = waitingSinceMs ?? askedMs
  const isOpen = transactionStatus !== 'idle' || running !== undefined
  const activeSinceMs = waitingSinceMs ?? (running ? client.ranMs : undefined)
  // Whoever asks is in a fork then, and the backend as its holder has left it.
  const held = entry === tenant.entry.holder ? slot?.session : undefined
  const startedAt = floating?.startedAt ?? (isOpen && held ? held.transactionStart : 0n)
  return {
    processId: processIdOf(client),
    applicationName: sessions.applicationNameOf(client, slot),
    state: activeSinceMs === undefined ? transactionStatus : 'active',
    connectedMs: entry.arrivedMs + sinceMs,
    requestMs: requestMs === undefined ? 0 : requestMs + sinceMs,
    stateSinceMs: (activeSinceMs ?? endedMs ?? entry.arrivedMs) + sinceMs,
    // With what has failed its transaction has ended.
    transactionStart: transactionStatus === 'failed' ? 0n : startedAt,
    query: pending ? statementIn(pending.messages) : sessions.queryOf(client, slot),
  }
}

/** Of the batch that waits or has paused now, when this one has ended. Not every client knows. */
function cancelWait(client: LiveClient): void {
  const { pending, running, giveUpLock, listener } = client
  queueMicrotask(() => {
    const isSame = client.pending === pending && client.running === running
    if (!isSame || client.giveUpLock !== giveUpLock) return
    if (!(pending ?? running ?? giveUpLock)) return
    if (listener?.cancel) listener.cancel()
    else client.cancel()
  })
}

function terminate(client: LiveClient): void {
  const error = new PgnapError(
    'SESSION_TERMINATED',
    'terminating connection due to administrator command',
    { hint: 'another connection to this database, or this one, has called pg_terminate_backend' },
  )
  client.ending = error
  queueMicrotask(() => client.dismiss(error))
}
