/**
 * What clients of a tenant send each other by `pg_cancel_backend` and `pg_terminate_backend`. While
 * one of them runs that, nobody else runs anything, in the backend or in a fork of it: the others
 * are idle, in a transaction perhaps, or wait. To cancel who is idle means nothing, as in a server;
 * who is terminated is sent away, whatever it does.
 *
 * Signals are not part of a transaction: they are sent even if the statement fails afterwards.
 */
import { PgnapError } from '../base/errors.ts'
import type { SignalReceiver } from '../engine/backend-signals.ts'
import type { LiveClient, LiveTenant } from './pool-client.ts'
import { processIdOf } from './process-id.ts'

export function signalReceiverOf({ clients }: LiveTenant): SignalReceiver {
  const find = (processId: number): LiveClient | undefined =>
    [...clients].find((client) => client.number !== 0 && processIdOf(client) === processId)
  return {
    has: (processId) => find(processId) !== undefined,
    send(processId, signal) {
      const client = find(processId)
      if (!client) return
      if (signal === 'terminate') terminate(client)
      else cancelWait(client)
    },
  }
}

/** Of the batch that waits now, when the one that runs has ended. Not every client knows of it. */
function cancelWait(client: LiveClient): void {
  const { pending, listener } = client
  queueMicrotask(() => {
    if (!pending || client.pending !== pending) return
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
