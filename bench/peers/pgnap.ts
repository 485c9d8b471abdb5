/** pgnap itself, driven from outside like any peer: its command line, its ports, its signals. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { PoolFacts } from '../../src/front/control.ts'
import { Child, runToEnd } from '../child.ts'
import { freePort } from '../wire/connection.ts'
import { type PeerServer, waitUntilReady } from './server.ts'

const USER = 'postgres'
const KNOCK_MS = 20
const KNOCKS_MAX = 100

export interface PgnapServer extends PeerServer {
  readonly httpPort: number
  /**
   * Takes a tenant out of its slot, as its idle timer would; its store is closed, so that the next
   * wake has to open it, as that of a tenant which has napped for a while.
   */
  nap(tenant: string): Promise<void>
  /** What the server counts: where requests found their tenants, and so on. */
  pool(): Promise<PoolFacts>
  /** One page of the list of tenants, as text. */
  listPage(limit: number, after?: string): Promise<string>
}

/** Builds the package of a checkout; the entry of its command line. */
export async function buildPgnap(repository: string): Promise<string> {
  await runToEnd(process.execPath, ['scripts/build.ts'], { cwd: repository })
  return join(repository, 'dist/cli/main.js')
}

export function pgnapBuilt(entry: string): boolean {
  return existsSync(entry)
}

/** Spawns the server on a data folder and does not wait for it. */
export async function spawnPgnap(
  entry: string,
  dataFolder: string,
  flags: readonly string[] = [],
): Promise<PgnapServer> {
  const port = await freePort()
  const httpPort = await freePort()
  const ports = ['--port', String(port), '--http-port', String(httpPort)]
  const args = [entry, 'serve', '--data', dataFolder, ...ports, ...flags]
  const child = new Child(process.execPath, args)
  const ask = async (method: string, path: string): Promise<string> => {
    const answer = await fetchSoon(`http://127.0.0.1:${httpPort}/v1/${path}`, method)
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
    return text
  }
  return {
    port,
    httpPort,
    user: USER,
    child,
    // Tenants are made on first connect; making one beforehand would hide what it costs.
    createTenant: async () => {},
    stop: () => child.stop(),
    nap: async (tenant) => void (await ask('POST', `tenants/${tenant}/nap`)),
    pool: async () => JSON.parse(await ask('GET', 'pool')) as PoolFacts,
    listPage: (limit, after = '') => ask('GET', `tenants?limit=${limit}&after=${after}`),
  }
}

/** A pgnap server that has answered once, on a tenant called `ready`. */
export async function startPgnap(
  entry: string,
  dataFolder: string,
  flags: readonly string[] = [],
): Promise<PgnapServer> {
  const server = await spawnPgnap(entry, dataFolder, flags)
  await waitUntilReady(server.child, { port: server.port, user: USER, database: 'ready' })
  return server
}

/** HTTP begins to listen a moment after the first client of a start was served. */
async function fetchSoon(url: string, method: string): Promise<Response> {
  for (let knocks = 0; ; knocks++) {
    try {
      return await fetch(url, { method })
    } catch (error) {
      if (knocks === KNOCKS_MAX) throw error
      await delay(KNOCK_MS)
    }
  }
}
