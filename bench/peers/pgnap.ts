/** pgnap itself, driven from outside like any peer: its command line, its ports, its signals. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Child, runToEnd } from '../child.ts'
import { freePort } from '../wire/connection.ts'
import { type PeerServer, waitUntilReady } from './server.ts'

const USER = 'postgres'

export interface PgnapServer extends PeerServer {
  /** Puts a tenant to sleep, as its idle timer would. */
  nap(tenant: string): Promise<void>
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
  return {
    port,
    user: USER,
    child,
    // Tenants are made on first connect; making one beforehand would hide what it costs.
    createTenant: async () => {},
    stop: () => child.stop(),
    nap: async (tenant) => {
      const url = `http://127.0.0.1:${httpPort}/v1/tenants/${tenant}/nap`
      const answer = await fetch(url, { method: 'POST' })
      if (!answer.ok) throw new Error(`nap ${tenant}: ${answer.status} ${await answer.text()}`)
      await answer.arrayBuffer()
    },
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
