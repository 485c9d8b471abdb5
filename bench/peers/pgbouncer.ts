/**
 * PgBouncer of the system in front of a native server: transaction pooling with prepared
 * statements, which is how it is run where there are many databases. Its databases are those of the
 * server behind.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Child } from '../child.ts'
import { freePort } from '../wire/connection.ts'
import { serverFolder } from './native.ts'
import { type PeerServer, waitUntilReady } from './server.ts'

const PATHS = ['pgbouncer', '/usr/sbin/pgbouncer', '/usr/local/bin/pgbouncer']
/** Statements kept per server connection; also switches the support on. */
const PREPARED_STATEMENTS_MAX = 200
const SUPPORT_MINOR = 21

interface Bouncer {
  readonly path: string
  readonly minor: number
}

function findBouncer(): Bouncer | undefined {
  for (const path of PATHS) {
    try {
      const words = execFileSync(path, ['--version'], { encoding: 'utf8', stdio: 'pipe' })
      return { path, minor: Number(/PgBouncer 1\.(\d+)/.exec(words)?.[1] ?? 0) }
    } catch {
      // Not here; the next path may have it.
    }
  }
  return undefined
}

export function bouncerInstalled(): boolean {
  return findBouncer() !== undefined
}

/**
 * Starts PgBouncer in front of `behind`. Each round of load holds its connections, in either mode.
 */
export async function startBouncer(folder: string, behind: PeerServer): Promise<PeerServer> {
  const bouncer = findBouncer()
  if (bouncer === undefined) throw new Error('PgBouncer is not installed')
  const port = await freePort()
  serverFolder(folder)
  const users = join(folder, 'users.txt')
  const configuration = join(folder, 'pgbouncer.ini')
  // Before 1.21 named statements only work when a server connection belongs to one client.
  const prepared = bouncer.minor >= SUPPORT_MINOR
  const lines = [
    '[databases]',
    `* = host=127.0.0.1 port=${behind.port}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = trust',
    `auth_file = ${users}`,
    `pool_mode = ${prepared ? 'transaction' : 'session'}`,
    ...(prepared ? [`max_prepared_statements = ${PREPARED_STATEMENTS_MAX}`] : []),
    'max_client_conn = 1000',
    'default_pool_size = 20',
  ]
  writeFileSync(users, `"${behind.user}" ""\n`)
  writeFileSync(configuration, `${lines.join('\n')}\n`)
  for (const path of [users, configuration]) chmodSync(path, 0o644)
  const child = new Child(bouncer.path, [configuration], { unprivileged: true, cwd: folder })
  const server: PeerServer = {
    port,
    user: behind.user,
    child,
    createTenant: (name) => behind.createTenant(name),
    stop: () => child.stop(),
  }
  await waitUntilReady(child, { port, user: behind.user, database: 'postgres' })
  return server
}
