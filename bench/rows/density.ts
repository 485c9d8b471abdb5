/**
 * Claim: an empty tenant costs next to nothing on disk, and little memory while awake. Disk is what
 * the file system allocates after the server has closed; memory is proportional set size over the
 * whole process tree, which counts shared pages once (Linux only), as the cost of one tenant MORE:
 * the difference between a few and many awake tenants, so that no server pays for its own code.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../../src/base/assert.ts'
import type { Bench } from '../bench.ts'
import type { Contender, Row } from '../harness.ts'
import { createCluster, SMALL_SETTINGS, spawnNative } from '../peers/native.ts'
import { type PgnapServer, startPgnap } from '../peers/pgnap.ts'
import type { PgliteProcess } from '../peers/pglite.ts'
import { addressOf, type PeerServer, waitUntilReady } from '../peers/server.ts'
import { allocatedBytes, treeMemoryBytes } from '../usage.ts'
import { Connection, freePort } from '../wire/connection.ts'
import { FIRST_ROW_SQL, repeat } from './work.ts'

const KB = 1024
const MB = 1024 * 1024
/** Tenants awake at the first look: what the server prepares ahead is paid for by then. */
const FEW = 4
/** A slot is made when nobody has come for a moment: who comes at once shares what there is. */
const PAUSE_MS = 1_000
/** What a start has left behind is collected by then: else it would hide what tenants take. */
const SETTLE_MS = 4_000

export const densityRow: Row = {
  name: 'density',
  metrics: [
    {
      name: 'disk',
      title: 'empty tenant on disk, after close',
      unit: 'KB',
      better: 'lower',
      reference: 'native database',
      goals: [{ kind: 'limit', value: 32 }],
    },
    {
      name: 'memory',
      title: 'awake empty tenant, one connection',
      unit: 'MB',
      better: 'lower',
      reference: 'native process',
      goals: [{ kind: 'limit', value: 30 }],
    },
  ],
  // Sizes vary little, and slots take their time.
  roundCountMax: 2,
  contenders: (bench) => [
    shared(bench, 'pgnap', 'pgnap', ownServer(bench)),
    shared(bench, 'native', 'native database', nativeCluster(bench)),
    nativeProcess(bench),
    pglite(bench),
  ],
}

interface Shared<Server extends PeerServer> {
  /** Counted on disk. */
  readonly folder: string
  open(): Promise<Server>
  /** Tenants in memory now, where a connection alone does not keep them there. */
  awakeCount?(server: Server): Promise<number>
}

/** Only the stores: images are a cache with a budget of its own (`density-10k` shows both). */
function ownServer(bench: Bench): Shared<PgnapServer> {
  const folder = bench.newFolder('density-pgnap')
  // Neither naps nor evictions while we look.
  const flags = ['--slots', '32', '--nap-after', '10min']
  return {
    folder: join(folder, 'tenants'),
    open: async () => {
      const server = await startPgnap(bench.pgnapEntry, folder, flags)
      await server.nap('ready')
      return server
    },
    awakeCount: async (server) => (await server.pool()).tenants.awake,
  }
}

/** One server for all tenants, each with one connection that has been used. */
function shared<Server extends PeerServer>(
  bench: Bench,
  peer: 'pgnap' | 'native',
  label: string,
  how: Shared<Server>,
): Contender {
  let tenantCount = 0
  const awake = async (server: PeerServer, names: readonly string[]): Promise<Connection[]> =>
    await repeat(names.length, async (index) => {
      const connection = await Connection.open(addressOf(server, names[index] ?? ''))
      await connection.query(FIRST_ROW_SQL)
      if (how.awakeCount) await sleep(bench.size(PAUSE_MS, 0))
      return connection
    })
  const create = async (server: PeerServer, count: number): Promise<string[]> =>
    await repeat(count, async () => {
      const name = `density${++tenantCount}`
      await server.createTenant(name)
      return name
    })
  return {
    peer,
    label,
    prepare: async () => {},
    round: async () => {
      const first = await how.open()
      const few: string[] = []
      try {
        few.push(...(await create(first, FEW)))
        for (const connection of await awake(first, few)) await connection[Symbol.asyncDispose]()
      } finally {
        await first.stop()
      }
      const diskBefore = allocatedBytes(how.folder)
      const extra = bench.size(8, 1)
      const second = await how.open()
      try {
        const connections = await awake(second, few)
        const memoryNow = async (): Promise<number> => {
          await sleep(bench.size(SETTLE_MS, 0))
          const count = (await how.awakeCount?.(second)) ?? connections.length
          // Without the pauses of a run that measures, few are.
          const wanted = bench.size(connections.length, 0)
          assert(count >= wanted, `${count} of ${connections.length} are awake`)
          return treeMemoryBytes(second.child.pid)
        }
        const before = await memoryNow()
        connections.push(...(await awake(second, await create(second, extra))))
        const memoryBytes = ((await memoryNow()) - before) / extra
        for (const connection of connections) await connection[Symbol.asyncDispose]()
        await second.stop()
        const diskBytes = (allocatedBytes(how.folder) - diskBefore) / extra
        return { disk: { values: [diskBytes / KB] }, memory: { values: [memoryBytes / MB] } }
      } finally {
        await second.stop()
      }
    },
  }
}

function nativeCluster(bench: Bench): Shared<PeerServer> {
  const cluster = bench.newPath('density-native')
  let made: Promise<void> | undefined
  return {
    // Only the databases: the server's log, which all of them share, comes and goes by itself.
    folder: join(cluster, 'base'),
    open: async () => {
      made ??= createCluster(bench.nativeBinaries(), cluster)
      await made
      const server = spawnNative(bench.nativeBinaries(), cluster, await freePort(), [])
      await waitUntilReady(server.child, addressOf(server, 'postgres'))
      return server
    },
  }
}

function nativeProcess(bench: Bench): Contender {
  const folder = bench.newPath('density-process')
  return {
    peer: 'native',
    label: 'native process',
    prepare: () => createCluster(bench.nativeBinaries(), folder),
    round: async () => {
      const port = await freePort()
      const server = spawnNative(bench.nativeBinaries(), folder, port, SMALL_SETTINGS)
      try {
        const address = addressOf(server, 'postgres')
        await waitUntilReady(server.child, address)
        const connection = await Connection.open(address)
        await connection.query(FIRST_ROW_SQL)
        const memoryBytes = treeMemoryBytes(server.child.pid)
        await connection[Symbol.asyncDispose]()
        await server.stop()
        const diskBytes = allocatedBytes(folder)
        return { disk: { values: [diskBytes / KB] }, memory: { values: [memoryBytes / MB] } }
      } finally {
        await server.stop()
      }
    },
  }
}

/** One database more in a process that has the module loaded and one database open. */
function pglite(bench: Bench): Contender {
  const folder = bench.newFolder('density-pglite')
  let stock: PgliteProcess | undefined
  return {
    peer: 'pglite',
    label: 'PGlite',
    prepare: async () => {
      stock = bench.pglite()
      await stock.run({ kind: 'fill', folder, statements: [] })
      await stock.run({ kind: 'keep', folder: bench.newFolder('density-kept') })
    },
    round: async () => {
      assert(stock !== undefined, 'prepared')
      const before = treeMemoryBytes(stock.pid)
      await stock.run({ kind: 'keep', folder: bench.newFolder('density-kept') })
      const memoryBytes = treeMemoryBytes(stock.pid) - before
      const diskBytes = allocatedBytes(folder)
      return { disk: { values: [diskBytes / KB] }, memory: { values: [memoryBytes / MB] } }
    },
  }
}
