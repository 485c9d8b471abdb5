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
import type { Credentials } from './credentials.ts'
import type { TenantDirectory } from './directory.ts'
import type { ConnectRequest, Gateway, StoredSecret } from './gateway.ts'
import { parseTenantAddress } from './tenant-name.ts'

export interface TenantGatewayOptions {
  readonly pool: Pool
  readonly directory: TenantDirectory
  /** Makes a tenant that is connected to and does not exist. */
  readonly createOnConnect: boolean
  /** Who may log in; without it everybody may. */
  readonly credentials?: Credentials
  /** Clients of one tenant. Default: `LIMITS.connectionsPerTenantMax`. */
  readonly connectionsPerTenantMax?: number
  /** Clients of this shard. Default: `LIMITS.connectionsMax`. */
  readonly connectionsMax?: number
}

export class TenantGateway implements Gateway {
  readonly authentication: 'trust' | 'scram'
  readonly #pool: Pool
  readonly #directory: TenantDirectory
  readonly #createOnConnect: boolean
  readonly #credentials: Credentials | undefined
  readonly #connectionsPerTenantMax: number
  readonly #connectionsMax: number
  /** Tenants being made: the clients of a new tenant often come all at once. */
  readonly #creating = new Map<TenantName, Promise<void>>()

  constructor(options: TenantGatewayOptions) {
    this.authentication = options.credentials ? 'scram' : 'trust'
    this.#pool = options.pool
    this.#directory = options.directory
    this.#createOnConnect = options.createOnConnect
    this.#credentials = options.credentials
    this.#connectionsPerTenantMax =
      options.connectionsPerTenantMax ?? LIMITS.connectionsPerTenantMax
    this.#connectionsMax = options.connectionsMax ?? LIMITS.connectionsMax
  }

  /** Users are the same for all tenants of a server, as in an auth_file. */
  async passwordFor(user: string): Promise<StoredSecret | undefined> {
    return this.#credentials?.secretOf(user)
  }

  async connect(request: ConnectRequest): Promise<PoolClient> {
    const { tenant, branch } = parseTenantAddress(request.tenant)
    if (branch !== undefined) throw branchesUnsupported(tenant)
    // Before anything is made on disk, and again after the waiting.
    this.#checkLimits(tenant)
    if (!(await this.#directory.exists(tenant))) await this.#createOrRefuse(tenant)
    this.#checkLimits(tenant)
    return this.#pool.connect(tenant, request.events)
  }

  #checkLimits(tenant: TenantName): void {
    if (this.#pool.clientCount >= this.#connectionsMax) {
      throw new PgnapError('CONNECTIONS_EXHAUSTED', 'sorry, too many clients already', {
        detail: `at most ${this.#connectionsMax} connections to one shard`,
        hint: 'close idle connections, or raise connectionsMax',
      })
    }
    if (this.#pool.clientCountOf(tenant) < this.#connectionsPerTenantMax) return
    throw new PgnapError('CONNECTIONS_EXHAUSTED', `too many connections for database "${tenant}"`, {
      detail: `at most ${this.#connectionsPerTenantMax} connections to one database`,
      hint: 'close idle connections, or raise connectionsPerTenantMax',
    })
  }

  async #createOrRefuse(tenant: TenantName): Promise<void> {
    if (!this.#createOnConnect) {
      throw new PgnapError('TENANT_UNKNOWN', `database "${tenant}" does not exist`, {
        hint: `create it with: pgnap tenant create ${tenant}`,
      })
    }
    let creating = this.#creating.get(tenant)
    if (!creating) {
      creating = this.#create(tenant).finally(() => this.#creating.delete(tenant))
      this.#creating.set(tenant, creating)
    }
    await creating
  }

  async #create(tenant: TenantName): Promise<void> {
    try {
      await this.#directory.create(tenant)
    } catch (error) {
      // Somebody else (the command line, HTTP) was faster. The client wanted it to exist, and it
      // does.
      if (error instanceof PgnapError && error.code === 'TENANT_EXISTS') return
      throw error
    }
  }
}

function branchesUnsupported(tenant: TenantName): PgnapError {
  return new PgnapError('NOT_SUPPORTED', 'connecting to a branch is not supported yet', {
    hint: `connect to the database itself: "${tenant}"`,
  })
}
