/**
 * Whom a verb talks to: a server that runs, or the data folder itself.
 *
 *   --url or PGNAP_URL given      that server, whatever folders there are
 *   the data folder exists        opened here; if a server holds it, that server over HTTP
 *   --data or PGNAP_DATA given    opened here; made by a verb that may make a tenant in it
 *   otherwise                     a server at the configured HTTP address
 *
 * A folder is never made because somebody stood in the wrong place: an empty database that appears
 * where the real one was expected is worse than an error.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { PgnapError } from '../base/errors.ts'
import type { Config } from '../host/node/config.ts'
import type { SqlConnection } from '../host/node/dump/sql-connection.ts'
import { type ServerAddress, ownerAddress, requireDataFolder } from '../host/node/data-folder.ts'
import { localUrl } from '../host/node/local-url.ts'
import type { Backend } from '../host/node/server.ts'
import { createServerClient } from './server-client.ts'
import { addSettings, configOf } from './settings.ts'
import type { Terminal } from './terminal.ts'
import { packageVersion } from './version.ts'

/** A result with every value as Postgres wrote it. */
export interface TextResult {
  readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[]
  readonly rows: readonly (readonly (string | null)[])[]
  readonly command: string
  readonly rowCount: number | null
}

/** Facts about a tenant as JSON; printed, not interpreted. */
export type Facts = object

export interface FactsPage {
  readonly tenants: readonly Facts[]
  /** Ask for the next page with this as `after`; undefined on the last page. */
  readonly next: string | undefined
}

/** What verbs ask of a server, near or far. */
export interface TenantServer extends AsyncDisposable {
  query(tenant: string, sql: string): Promise<TextResult>
  /** @param template whose copy it is to be; undefined: it is empty */
  createTenant(name: string, template?: string): Promise<Facts>
  listTenants(page: { readonly after?: string; readonly limit: number }): Promise<FactsPage>
  showTenant(name: string): Promise<Facts>
  deleteTenant(name: string): Promise<void>
  napTenant(name: string): Promise<Facts>
  wakeTenant(name: string): Promise<Facts>
  rolesOf(name: string): Promise<readonly Facts[]>
  rotateRole(name: string, role: string): Promise<Facts>
  revokeRole(name: string, role: string): Promise<void>
  pinTenant(name: string): Promise<Facts>
  unpinTenant(name: string): Promise<Facts>
  /**
   * A connection to a tenant, which the caller disposes of. The tenant has to be there: where
   * tenants are made by being connected to, its first statement would make it.
   * @param program what it calls itself
   */
  connect(tenant: string, program: string): Promise<SqlConnection>
}

/** Nobody but the verb can connect, and it has proven what it may by opening the folder. */
const ALONE = { auth: 'trust', createOnConnect: false } as const

/** Adds the options that name a target. */
export function addTarget(command: Command): Command {
  command.option('--url <url>', 'running server, such as http://127.0.0.1:6480 (PGNAP_URL)')
  return addSettings(command, ['data', 'host', 'httpPort', 'adminTokenFile'])
}

export interface TargetOptions {
  /** Whether the verb may make a tenant, and so the folder that it is in. Default: it may not. */
  readonly mayMake?: (config: Config) => boolean
  /** Whether it connects to tenants, which are there. */
  readonly connects?: true
}

/**
 * The target of a verb's options. The caller disposes it.
 * Rejects with SERVER_UNREACHABLE, CONFIG_INVALID, or what opening the folder rejects with.
 */
export async function openTarget(
  command: Command,
  terminal: Terminal,
  { mayMake = () => false, connects }: TargetOptions = {},
): Promise<TenantServer> {
  const named = command.getOptionValue('url') as string | undefined
  const url = named ?? (terminal.environment['PGNAP_URL'] || undefined)
  const token = await adminToken(command, terminal)
  if (url !== undefined) return createServerClient({ url, token })
  const config = configOf(command, terminal)
  const told = command.getOptionValueSource('data') === 'cli' || terminal.environment['PGNAP_DATA']
  if (!told && !existsSync(join(config.data, 'tenants'))) {
    return createServerClient({ ...(await configured(config)), token })
  }
  if (!mayMake(config)) requireDataFolder(config.data)
  try {
    return await openHere(connects ? { ...config, ...ALONE } : config, terminal)
  } catch (error) {
    if (error instanceof PgnapError && error.code === 'DATA_FOLDER_IN_USE') {
      const address = ownerAddress(config.data) ?? (await configured(config))
      return createServerClient({ ...address, token })
    }
    throw error
  }
}

/** Read without the rest of the configuration, which is that of a server near by. */
async function adminToken(command: Command, terminal: Terminal): Promise<string | undefined> {
  const flag = command.getOptionValue('adminTokenFile') as string | undefined
  const path = flag ?? (terminal.environment['PGNAP_ADMIN_TOKEN_FILE'] || undefined)
  if (path === undefined) return undefined
  const { readAdminToken } = await import('../host/node/admin-token.ts')
  return readAdminToken(path)
}

/** The server that runs with this configuration, if one does. */
async function configured(config: Config): Promise<ServerAddress> {
  const url = localUrl(config)
  if (config.tlsCert === undefined) return { url }
  const { readLeaf } = await import('../host/node/tls/identity.ts')
  return { url, certificate: readLeaf(config.tlsCert) }
}

async function openHere(config: Config, terminal: Terminal): Promise<TenantServer> {
  const [{ startBackend }, { openLog }] = await Promise.all([
    import('../host/node/server.ts'),
    import('../host/node/log.ts'),
  ])
  const backend = await startBackend(
    { ...config, shards: 1, slots: 1 },
    {
      log: openLog({ level: 'warn' }),
      version: packageVersion(),
      // How the folder will be served is not known here: a role that nobody asks for does no harm.
      grantRoles: true,
      progress: (step) => terminal.complain(`pgnap: ${step}\n`),
    },
  )
  return ofBackend(backend)
}

function ofBackend(backend: Backend): TenantServer {
  const { control } = backend
  return {
    query: async (tenant, sql) => {
      const { result } = await control.query(tenant, { sql, parameters: [] })
      const fields = result.fields.map(({ name, typeOid }) => ({ name, dataTypeID: typeOid }))
      return { ...result, fields }
    },
    createTenant: (name, template) => control.createTenant(name, template),
    listTenants: (page) => control.listTenants(page),
    showTenant: (name) => control.showTenant(name),
    deleteTenant: (name) => control.deleteTenant(name),
    napTenant: (name) => control.napTenant(name),
    wakeTenant: (name) => control.wakeTenant(name),
    rolesOf: (name) => control.rolesOf(name),
    rotateRole: (name, role) => control.rotateRole(name, role),
    revokeRole: (name, role) => control.revokeRole(name, role),
    pinTenant: (name) => control.pinTenant(name),
    unpinTenant: (name) => control.unpinTenant(name),
    connect: async (tenant, program) => {
      const [{ SqlConnection }, { streamWithin }] = await Promise.all([
        import('../host/node/dump/sql-connection.ts'),
        import('../host/node/dump/tenant-stream.ts'),
      ])
      const stream = await streamWithin(backend, tenant)
      return SqlConnection.open(stream, { tenant, user: 'postgres', password: '', program })
    },
    [Symbol.asyncDispose]: () => backend.drain(),
  }
}
