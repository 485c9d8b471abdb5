/**
 * The front's gateway to the one tenant of an object: who may log in, and a client of its pool for
 * whoever has. A client that got here by one name and asks for another is refused: it would be
 * given the wrong data.
 */
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { TenantName } from '../../base/ids.ts'
import type { PoolClient } from '../../pool/pool-client.ts'
import type { ConnectRequest, Gateway } from '../../router/gateway.ts'
import type { Verifier } from '../../router/scram-verifier.ts'
import { parseTenantAddress } from '../../router/tenant-name.ts'
import type { Users } from '../../router/users.ts'
import type { TenantRuntime } from './tenant-runtime.ts'

export interface ObjectGatewayOptions {
  readonly tenant: TenantName
  readonly runtime: TenantRuntime
  /** Who may log in; without it everybody may. */
  readonly users: Users | undefined
  /** Called before a client is let in, who may be the first one ever. */
  readonly enter: () => Promise<void>
}

export class ObjectGateway implements Gateway {
  readonly authentication: Gateway['authentication']
  readonly #options: ObjectGatewayOptions

  constructor(options: ObjectGatewayOptions) {
    this.#options = options
    this.authentication = options.users ? 'scram' : 'trust'
  }

  async passwordFor(user: string, database: string): Promise<Verifier | undefined> {
    return this.#options.users?.verifierOf(user, database)
  }

  async connect(request: ConnectRequest): Promise<PoolClient> {
    const { tenant, runtime, enter } = this.#options
    const asked = parseTenantAddress(request.tenant)
    if (asked.branch !== undefined) {
      throw new PgnapError('NOT_SUPPORTED', 'connecting to a branch is not supported yet', {
        hint: `connect to the database itself: "${tenant}"`,
      })
    }
    if (asked.tenant !== tenant) {
      throw new PgnapError('TENANT_CONFLICT', 'two different databases are asked for', {
        detail: `the address of the WebSocket names "${tenant}", the client "${asked.tenant}"`,
        hint: 'name the same database in both',
      })
    }
    checkRoom(runtime, tenant)
    await enter()
    return runtime.connect(tenant, request.events, { number: request.processId })
  }
}

/** @throws PgnapError CONNECTIONS_EXHAUSTED */
export function checkRoom({ pool }: TenantRuntime, tenant: TenantName): void {
  if (pool.clientCount < LIMITS.connectionsPerTenantMax) return
  throw new PgnapError('CONNECTIONS_EXHAUSTED', `too many connections for database "${tenant}"`, {
    detail: `at most ${LIMITS.connectionsPerTenantMax} connections to one database`,
    hint: 'close idle connections, or ask over HTTP',
  })
}
