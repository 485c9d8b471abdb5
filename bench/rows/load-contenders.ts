/**
 * The contenders of the rows that put load on a running server: they differ in nothing but the
 * port.
 */
import { assert } from '../../src/base/assert.ts'
import type { Bench } from '../bench.ts'
import type { Contender, Observation } from '../harness.ts'
import { addressOf, type PeerName, type PeerServer } from '../peers/server.ts'
import { Connection } from '../wire/connection.ts'
import { repeat } from './work.ts'

export interface LoadWork {
  /** Databases of the row, made before anything is measured. */
  readonly databases: readonly string[]
  /** Run once in every database. */
  readonly setup: readonly string[]
  /** The pgnap server to use; default: the shared one, as it comes. */
  readonly pgnap?: () => Promise<PeerServer>
  /** Its databases must not be one and the same, which leaves pglite-socket out. */
  readonly separate?: boolean
  round(
    bench: Bench,
    server: PeerServer,
    peer: PeerName,
  ): Promise<Readonly<Record<string, Observation>>>
}

/** pgnap, native directly, native behind PgBouncer, and pglite-socket, all doing the same work. */
export function loadContenders(bench: Bench, work: LoadWork): readonly Contender[] {
  const contender = (
    peer: PeerName,
    label: string,
    start: () => Promise<PeerServer>,
  ): Contender => {
    let server: PeerServer | undefined
    return {
      peer,
      label,
      prepare: async () => {
        const started = await start()
        server = started
        for (const database of work.databases) {
          await ensureTenant(started, database)
          await using connection = await Connection.open(addressOf(started, database))
          for (const sql of work.setup) await connection.query(sql)
        }
        // A first round for nobody: what runs next is about servers whose code is compiled.
        await repeat(bench.size(1, 0), () => work.round(bench, started, peer))
      },
      round: async () => {
        assert(server !== undefined, 'prepared')
        return await work.round(bench, server, peer)
      },
    }
  }
  const apart = [
    contender('pgnap', 'pgnap', work.pgnap ?? (() => bench.pgnap())),
    contender('native', 'native', () => bench.native()),
    contender('pgbouncer', 'PgBouncer', () => bench.bouncer()),
  ]
  if (work.separate) return apart
  return [...apart, contender('pglite-socket', 'pglite-socket', () => bench.pgliteSocket())]
}

/** PgBouncer's databases are native's: whichever contender comes second finds them there. */
async function ensureTenant(server: PeerServer, name: string): Promise<void> {
  try {
    await server.createTenant(name)
  } catch (error) {
    const exists = error instanceof Error && error.message.includes('42P04')
    if (!exists) throw error
  }
}
