/**
 * What the front needs from everything below it: someone who knows users and tenants, and a backend
 * to run messages on. The front speaks to this interface only, so it can be tested against a fake,
 * and whatever stands behind it (a pool in this thread, a Durable Object, the admin console) looks
 * the same to a client.
 *
 * Interfaces only; this file must never hold code.
 */
import type { PgnapError } from '../base/errors.ts'
import type { Verifier } from './scram-verifier.ts'

/** Transaction status of a backend, as ReadyForQuery reports it. */
export type TransactionStatus = 'idle' | 'transaction' | 'failed'

export interface Gateway {
  /** Whether a password is asked for. Fixed for the life of the gateway. */
  readonly authentication: 'trust' | 'scram'
  /**
   * What `user` proves its password against before `connect` is called. Undefined if there is no
   * such user or tenant: the front then plays the exchange to its end and refuses, so that nobody
   * can find out names by asking. Never rejects for an unknown name, but with TENANT_UNKNOWN where
   * the operator wants that to be told.
   */
  passwordFor(user: string, tenant: string): Promise<Verifier | undefined>
  /**
   * One more client of a tenant. Called after authentication, once per connection. Need not wake
   * the tenant. Rejects with {@link PgnapError}: TENANT_NAME_INVALID, TENANT_UNKNOWN (its hint says
   * how to make it), CONNECTIONS_EXHAUSTED, SHUTTING_DOWN, ...
   */
  connect(request: ConnectRequest): Promise<BackendClient>
}

/**
 * Who it is, and where to. `applicationName` and `processId` decide nothing: they are for the admin
 * console, which will show them. The client's settings are not here, because the front
 * applies them by SQL on the new client.
 */
export interface ConnectRequest {
  /** The database name as the client typed it: `tenant` or `tenant@branch`, not yet checked. */
  readonly tenant: string
  /** As the client typed it, already authenticated. */
  readonly user: string
  /** Empty if the client gave none. */
  readonly applicationName: string
  /** The number that BackendKeyData tells the client: what it knows as its backend's process id. */
  readonly processId: number
  /** How the backend reaches a client that is not waiting for an answer. */
  readonly events: ClientEvents
}

/** What can happen to a client between two of its batches. */
export interface ClientEvents {
  /**
   * Whole backend messages for an idle client: NotificationResponse, NoticeResponse,
   * ParameterStatus. The bytes are consumed or copied when the call returns. Never called inside
   * `run`; while a run waits for its turn, they go before its answer.
   */
  messages(bytes: Uint8Array): void
  /**
   * The client has to go: its tenant was deleted, a time limit in a transaction has passed, an
   * administrator said so. The front sends `error` as FATAL, closes the connection and calls
   * `close`.
   */
  lost(error: PgnapError): void
  /** Somebody of the same tenant cancels what this client waits for, as by a cancel request. */
  cancel?(): void
  /**
   * So many bytes are kept for the client from now on, which `messages` will tell later. May be
   * called in the middle of anybody's run: nothing may be begun or ended by it.
   */
  keeps?(bytes: number): void
}

/** One client's own view of a backend that it shares with others. */
export interface BackendClient {
  /**
   * Runs complete frontend messages (never a part of one) as this client.
   *
   * `messages` may be read only during the call: an implementation that cannot run at once copies
   * them before it returns. At most one call is in flight.
   *
   * The answer is durable when it is returned. An answer returned directly is a view that the next
   * `run` of any client may overwrite: the caller consumes it before it does anything else. An
   * answer that comes by promise stays valid until the next `run` of this client, because other
   * clients may run between the settling of a promise and the code that waits for it.
   *
   * Direct when the tenant is awake and its backend is free, else a promise. Throws or rejects with
   * {@link PgnapError}; the error ends the connection unless its SQLSTATE is of the waiting kind
   * (57014: QUERY_WAIT_TIMEOUT, QUERY_CANCELED, STATEMENT_TIMEOUT; 55P03: LOCK_TIMEOUT; 53300:
   * QUEUE_FULL; 40P01: DEADLOCK) or {@link mayGoOn} says so, and the client was idle: such an error
   * must mean that nothing of the batch has run, and the client may go on.
   *
   * @param complete the batch ends in Query, Sync or FunctionCall: its answer ends in ReadyForQuery
   *   and the backend may be given to another client after it if its status is then idle. False
   *   after Flush: the backend stays with this client.
   */
  run(messages: Uint8Array, complete: boolean): Uint8Array | Promise<Uint8Array>
  /**
   * As {@link run}, once and before it: what the batch sets is what RESET goes back to. Default:
   * nothing is to be gone back to.
   */
  begin?(messages: Uint8Array): Uint8Array | Promise<Uint8Array>
  /** It is worth a {@link begin} of nothing, to be greeted with what is set in its database. */
  readonly mayHaveStoredSettings?: boolean
  /**
   * Of a run that has just failed: nothing of it has run, and the client's session is not lost.
   */
  readonly mayGoOn?: boolean
  /** As the last answer said. */
  readonly transactionStatus: TransactionStatus
  /**
   * Its transaction is open nowhere: a run may fail by waiting, as if the client was idle, and its
   * transaction has failed then. Default: false.
   */
  readonly isFloating?: boolean
  /**
   * Monotonic time since which the run in flight waits for its turn; undefined if it does not wait.
   */
  readonly waitingSinceMs?: number | undefined
  /** Monotonic time at which its last run began; undefined if there was none, or if not known. */
  readonly ranMs?: number | undefined
  /**
   * Ends the wait of the run in flight, which then rejects with SQLSTATE 57014 and has not begun.
   * One that has begun goes on to its end: it has the thread that this call would have to come to.
   * Does nothing when nothing is in flight. May come at any time.
   */
  cancel(): void
  /**
   * The client has gone: what is open is rolled back, what is held is let go, the wait of a run in
   * flight is ended and its answer forgotten. Idempotent.
   */
  close(): void
}
