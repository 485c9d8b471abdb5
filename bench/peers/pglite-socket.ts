/** pglite-socket as a peer: one PGlite behind one port; every tenant name is the same database. */
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { Child } from '../child.ts'
import { freePort } from '../wire/connection.ts'
import { type PeerServer, addressOf, waitUntilReady } from './server.ts'

export function pgliteSocketInstalled(): boolean {
  try {
    createRequire(import.meta.url).resolve('@electric-sql/pglite-socket')
    return true
  } catch {
    return false
  }
}

/** Spawns the server on a folder and waits until it answers. */
export async function startPgliteSocket(folder: string): Promise<PeerServer> {
  const server = await spawnPgliteSocket(folder)
  await waitUntilReady(server.child, addressOf(server, 'postgres'))
  return server
}

/** Spawns the server and does not wait. */
export async function spawnPgliteSocket(folder: string): Promise<PeerServer> {
  const port = await freePort()
  const file = fileURLToPath(new URL('./pglite-socket-process.ts', import.meta.url))
  const child = new Child(process.execPath, [file, String(port), folder])
  return { port, user: 'postgres', child, createTenant: async () => {}, stop: () => child.stop() }
}
