/** What every server that the benchmark talks to has in common, ours and the peers'. */
import type { Child } from '../child.ts'
import { firstRowOfStarting, type Address } from '../wire/connection.ts'

/** The product and what it is compared with. */
export const PEERS = ['pgnap', 'native', 'pgbouncer', 'pglite', 'pglite-socket'] as const

export type PeerName = (typeof PEERS)[number]

/** Longest start of any server; a cold PGlite on a large folder is the slowest. */
export const START_MS_MAX = 60_000

export interface PeerServer {
  readonly port: number
  readonly user: string
  readonly child: Child
  /** Makes a database of this name, or a name that may be connected to. */
  createTenant(name: string): Promise<void>
  /** Ends the process in its orderly way. */
  stop(): Promise<void>
}

export function addressOf(server: PeerServer, database: string): Address {
  return { port: server.port, user: server.user, database }
}

/** Waits until a fresh server answers on `database`. */
export async function waitUntilReady(child: Child, address: Address): Promise<void> {
  await firstRowOfStarting(address, 'select 1', {
    startMs: performance.now(),
    timeoutMs: START_MS_MAX,
    abort: child.ended,
  })
}
