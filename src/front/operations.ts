/**
 * What an administrator may do to a running server, as the admin console asks for it.
 *
 * Interfaces only; this file must never hold code.
 */
import type { PoolFacts } from './control.ts'

/** Names of databases are as typed; undefined stands for all. */
export interface Operations {
  /** What is paused now: all, and one by one. Asks no shard. */
  paused(): PoolFacts['paused']
  /**
   * Lets what is running in a tenant end, and keeps whatever comes waiting. Settles when the
   * tenant is at rest: out of its slot, its store closed. When `signal` is aborted before, it is
   * taken back and rejects with the signal's reason. TENANT_UNKNOWN, OPERATION_OUT_OF_PLACE if all
   * are paused already; QUERY_CANCELED if it is resumed before it rests.
   */
  pause(database: string | undefined, signal: AbortSignal): Promise<void>
  /** TENANT_UNKNOWN, OPERATION_OUT_OF_PLACE if it is not paused. */
  resume(database: string | undefined): Promise<void>
  /** Pauses a tenant, and sends its clients away. TENANT_UNKNOWN */
  kill(database: string): Promise<void>
  /** Has backends loaded from their stores anew, each as soon as nobody is in the middle of it. */
  reconnect(database: string | undefined): Promise<void>
  /** Reads certificate and password file again. CONFIG_INVALID: nothing has changed. */
  reload(): Promise<void>
}
