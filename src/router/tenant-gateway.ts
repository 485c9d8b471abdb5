/**
 * The front's gateway to the tenants of one shard: checks names, existence and connection limits,
 * and hands out clients of the pool. A tenant may come into being by being connected to.
 *
 * It must never wake a tenant (connecting is cheap, and many connections never say anything), and
 * never create anything for a name that was not checked.
 */
import { PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import type { PoolClient } from '../pool/pool-client.ts'
import type { Pool } from '../pool/pool.ts'
import type { TenantDirectory } from './directory.ts'
import type { ConnectRequest, Gateway } from './gateway.ts'
import type { Verifier } from './scram-verifier.ts'
import type { Users } from './users.ts'
import type { Ownership } from './ownership.ts'
import { parseTenantAddress, unknownTenant } from './tenant-name.ts'

export interface TenantGatewayOptions {
  readonly pool: Pool
  readonly directory: Pick<TenantDirectory, 'exists' | 'beside'>
  /** Connecting to a tenant that does not exist makes it; the pool's source must then do so. */
  readonly createOnConnect: boolean
  /** Which tenants are here. Default: all. */
  readonly ownership?: Pick<Ownership, 'check'>
  /** Who may log in; without it everybody may. */
  readonly users?: Pick<Users, 'verifierOf' | 'isAdministrator'>
  /** Clients of one tenant. Default: `LIMITS.connectionsPerTenantMax`. */
  readonly connectionsPerTenantMax?: number
  /** Clients of this shard. Default: `LIMITS.connectionsMax`. */
  readonly connectionsMax?: number
}

export class TenantGateway implements Gateway {
  readonly authentication: 'trust' | 'scram'
  readonly #pool: Pool
  readonly #directory: Pick<TenantDirectory, 'exists' | 'beside'>
  readonly #createOnConnect: boolean
  readonly #ownership: Pick<Ownership, 'check'> | undefined
  readonly #users: Pick<Users, 'verifierOf' | 'isAdministrator'> | undefined
  readonly #connectionsPerTenantMax: number
  readonly #connectionsMax: number

  constructor(options: TenantGatewayOptions) {
    this.authentication = options.users ? 'scram' : 'trust'
    this.#pool = options.pool
    this.#directory = options.directory
    this.#createOnConnect = options.createOnConnect
    this.#ownership = options.ownership
    this.#users = options.users
    this.#connectionsPerTenantMax =
      options.connectionsPerTenantMax ?? LIMITS.connectionsPerTenantMax
    this.#connectionsMax = options.connectionsMax ?? LIMITS.connectionsMax
  }

  async passwordFor(user: string, tenant: string): Promise<Verifier | undefined> {
    return this.#users?.verifierOf(user, tenant)
  }

  async connect(request: ConnectRequest): Promise<PoolClient> {
    const { tenant, branch } = parseTenantAddress(request.tenant)
    if (branch !== undefined) throw branchesUnsupported(tenant)
    // Otherwise the tenant is made by the pool's source, when the first batch opens it: a client
    // that never says anything leaves nothing behind, and the store is opened once instead of
    // twice.
    if (!this.#createOnConnect && !(await this.#directory.exists(tenant)))
      throw unknownTenant(tenant)
    this.#ownership?.check(tenant)
    this.#checkLimits(tenant)
    const mayMakeDatabases = this.#mayMakeDatabases(request.user)
    return this.#pool.connect(tenant, request.events, {
      number: request.processId,
      mayMakeDatabases,
      ...(mayMakeDatabases ? { otherDatabases: this.#directory.beside(tenant) } : {}),
    })
  }

  /** Whoever makes a tenant by connecting to a name may as well say so; a role has only its own. */
  #mayMakeDatabases(user: string): boolean {
    return this.#createOnConnect && (this.#users?.isAdministrator(user) ?? true)
  }

  #checkLimits(tenant: TenantName): void {
    if (this.#pool.clientCount >= this.#connectionsMax) {
      throw new PgnapError('CONNECTIONS_EXHAUSTED', 'sorry, too many clients already', {
        detail: `at most ${this.#connectionsMax} connections to one shard`,
        hint: 'close idle connections, or raise --max-connections',
      })
    }
    if (this.#pool.clientCountOf(tenant) < this.#connectionsPerTenantMax) return
    throw new PgnapError('CONNECTIONS_EXHAUSTED', `too many connections for database "${tenant}"`, {
      detail: `at most ${this.#connectionsPerTenantMax} connections to one database`,
      hint: 'close idle connections, or put a pooler in front of this tenant',
    })
  }
}

function branchesUnsupported(tenant: TenantName): PgnapError {
  return new PgnapError('NOT_SUPPORTED', 'connecting to a branch is not supported yet', {
    hint: `connect to the database itself: "${tenant}"`,
  })
}
