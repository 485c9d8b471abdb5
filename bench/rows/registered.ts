/**
 * Claim: what a server costs does not depend on how many tenants it has: starting it, its memory,
 * and one page of the list of tenants, with 100,000 of them beside 200. The first page is told for
 * itself: it reads all names, and those that follow read none. All pages are full, and each has
 * been asked for once before: what a file system takes for a file that nobody has looked at yet is
 * not a matter of how many there are.
 *
 * A registered tenant is a store file. One empty store is made and linked under the other names,
 * a thousand names to a file: nobody opens them, and a copy of each would measure the disk.
 */
import { copyFileSync, cpSync, linkSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { assert } from '../../src/base/assert.ts'
import type { Bench } from '../bench.ts'
import type { Contender, Goal, Metric, Row } from '../harness.ts'
import { type PgnapServer, spawnPgnap } from '../peers/pgnap.ts'
import { addressOf, START_MS_MAX, waitUntilReady } from '../peers/server.ts'
import { treeMemoryBytes } from '../usage.ts'
import { firstRowOfStarting, queryOnce } from '../wire/connection.ts'
import { FIRST_ROW_SQL, firstRowsObservation, repeat } from './work.ts'

const MB = 1024 * 1024
const PAGE_LENGTH = 100
/** The second half has no place for a page that begins in it: pages begin in the first one. */
const FEW = 2 * PAGE_LENGTH
const MANY = 100_000
const FEW_LABEL = `pgnap, ${FEW} tenants`
/** File systems allow some ten thousand names for a file. */
const LINKS_PER_FILE = 1_000
/** Flat is what a quarter more would not be. */
const FLAT: Goal = { kind: 'ratio', against: FEW_LABEL, value: 0.8 }

const metric = (
  name: string,
  title: string,
  unit: Metric['unit'],
  goals: readonly Goal[] = [FLAT],
): Metric => ({
  name,
  title,
  unit,
  better: 'lower',
  reference: FEW_LABEL,
  goals,
})

export const registeredRow: Row = {
  name: 'registered',
  metrics: [
    metric('registered-start', '100,000 tenants: start to first row', 'ms'),
    metric('registered-memory', '100,000 tenants: memory then', 'MB'),
    metric('registered-first', `100,000 tenants: the first page of ${PAGE_LENGTH}`, 'ms', []),
    metric('registered-list', `100,000 tenants: each one after it`, 'ms'),
  ],
  contenders: (bench) => {
    const stores = new Stores(bench)
    return [
      registered(bench, stores, { label: 'pgnap', tenantCount: bench.size(MANY, FEW) }),
      registered(bench, stores, { label: FEW_LABEL, tenantCount: FEW }),
    ]
  },
}

const nameOf = (index: number): string => `registered-${String(index).padStart(6, '0')}`

/** A data folder that has seen one tenant, as what all others are copied from. */
class Stores {
  readonly #bench: Bench
  #made: Promise<string> | undefined

  constructor(bench: Bench) {
    this.#bench = bench
  }

  /** A new data folder with so many tenants. */
  async folder(tenantCount: number): Promise<string> {
    this.#made ??= this.#make()
    const folder = this.#bench.newFolder('registered')
    cpSync(await this.#made, folder, { recursive: true })
    register(join(folder, 'tenants'), tenantCount)
    return folder
  }

  async #make(): Promise<string> {
    const folder = this.#bench.newFolder('registered')
    const server = await spawnPgnap(this.#bench.pgnapEntry, folder)
    try {
      const address = addressOf(server, nameOf(0))
      await waitUntilReady(server.child, address)
      await queryOnce(address, FIRST_ROW_SQL)
    } finally {
      await server.stop()
    }
    return folder
  }
}

function registered(
  bench: Bench,
  stores: Stores,
  { label, tenantCount }: { readonly label: string; readonly tenantCount: number },
): Contender {
  let folder = ''
  return {
    peer: 'pgnap',
    label,
    prepare: async () => {
      folder = await stores.folder(tenantCount)
    },
    round: async () => {
      const startMs = performance.now()
      const server = await spawnPgnap(bench.pgnapEntry, folder)
      try {
        const row = await firstRowOfStarting(addressOf(server, nameOf(0)), FIRST_ROW_SQL, {
          startMs,
          timeoutMs: START_MS_MAX,
          abort: server.child.ended,
        })
        const memoryBytes = treeMemoryBytes(server.child.pid)
        const first = await page(server, nameOf(0))
        const walk = (): Promise<number[]> =>
          repeat(bench.size(40, 2), (index) =>
            page(server, nameOf(Math.floor((tenantCount / 80) * index))),
          )
        await walk()
        const pages = await walk()
        return {
          'registered-start': firstRowsObservation([row]),
          'registered-memory': { values: [memoryBytes / MB] },
          'registered-first': { values: [first] },
          'registered-list': { values: pages },
        }
      } finally {
        await server.stop()
      }
    },
  }
}

function register(folder: string, tenantCount: number): void {
  const first = join(folder, `${nameOf(0)}.db`)
  let source = first
  for (let index = 1; index < tenantCount; index++) {
    const path = join(folder, `${nameOf(index)}.db`)
    if (index % LINKS_PER_FILE === 1) {
      copyFileSync(first, path)
      source = path
    } else {
      linkSync(source, path)
    }
  }
}

async function page(server: PgnapServer, after: string): Promise<number> {
  const startMs = performance.now()
  const text = await server.listPage(PAGE_LENGTH, after)
  const elapsedMs = performance.now() - startMs
  const { tenants } = JSON.parse(text) as { readonly tenants: readonly unknown[] }
  assert(tenants.length === PAGE_LENGTH, 'there is a page behind any of the first half')
  return elapsedMs
}
