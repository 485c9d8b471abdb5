/**
 * Makes, renews and ends the roles of tenants. A password is made here, told once as part of a
 * connection string, and forgotten: what is kept is its verifier.
 */
import { hostname } from 'node:os'
import type { Clock } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Random } from '../../base/random.ts'
import type { RoleFacts, RoleGrant } from '../../front/control.ts'
import type { Credentials } from '../../router/credentials.ts'
import { makeVerifier, saltOf } from '../../router/scram-verifier.ts'
import type { Config } from './config.ts'
import type { ControlDatabase } from './control-database.ts'

export interface TenantRolesOptions {
  readonly database: ControlDatabase
  /** Their names are taken. */
  readonly administrators: Promise<Credentials | undefined>
  readonly config: Pick<Config, 'host' | 'port' | 'domain' | 'tlsCert'>
  readonly clock: Clock
  readonly random: Random
}

/** As Postgres takes names without quotes, and short; a dot would part it from a tenant. */
const ROLE = /^[a-z0-9_][a-z0-9_-]*$/
/** 192 bits: nothing to guess, so a fast hash of it is as good as a slow one. */
const PASSWORD_BYTES = 24

export class TenantRoles {
  readonly #options: TenantRolesOptions
  #port: number

  constructor(options: TenantRolesOptions) {
    this.#options = options
    this.#port = options.config.port
  }

  /** Connection strings name this port from now on: the one that is listened on. */
  listensOn(port: number): void {
    this.#port = port
  }

  /** The role that a tenant is made with: it has the tenant's name, unless an administrator has. */
  async firstRoleOf(tenant: TenantName): Promise<string> {
    const administrators = await this.#options.administrators
    if (!administrators?.verifierOf(tenant)) return tenant
    return `${tenant.slice(0, LIMITS.tenantNameCharsMax - OWNER.length)}${OWNER}`
  }

  /**
   * Gives a role a new password; makes the role if it is not there.
   * @throws PgnapError REQUEST_INVALID for a name that no role may have
   */
  async grant(tenant: TenantName, role: string): Promise<RoleGrant> {
    const { database, random, clock } = this.#options
    await this.#checkName(role)
    const password = Buffer.from(random.bytes(PASSWORD_BYTES)).toString('base64url')
    const salt = await saltOf(role, database.saltSecret)
    const verifier = await makeVerifier(password, random, { salt })
    database.put(tenant, { role, createdMs: clock.nowMs() }, verifier)
    return { tenant, role, connectionString: this.#connectionString(tenant, role, password) }
  }

  /** @throws PgnapError ROLE_UNKNOWN */
  revoke(tenant: TenantName, role: string): void {
    if (this.#options.database.delete(tenant, role)) return
    throw new PgnapError('ROLE_UNKNOWN', `tenant "${tenant}" has no role ${JSON.stringify(role)}`, {
      hint: `its roles are shown by: pgnap tenant roles ${tenant}`,
    })
  }

  rolesOf(tenant: TenantName): RoleFacts[] {
    return this.#options.database.rolesOf(tenant)
  }

  forget(tenant: TenantName): void {
    this.#options.database.forget(tenant)
  }

  async #checkName(role: string): Promise<void> {
    if (role.length > LIMITS.tenantNameCharsMax || !ROLE.test(role)) {
      throw new PgnapError('REQUEST_INVALID', 'the name of a role is not valid', {
        detail: `1 to ${LIMITS.tenantNameCharsMax} of a-z, 0-9, "_", "-"; first no "-"`,
        hint: 'choose a name such as app',
      })
    }
    if ((await this.#options.administrators)?.verifierOf(role)) {
      throw new PgnapError('REQUEST_INVALID', `"${role}" is an administrator of this server`, {
        hint: 'choose a name that is not in the file of --auth-file',
      })
    }
  }

  #connectionString(tenant: TenantName, role: string, password: string): string {
    const { host, domain, tlsCert } = this.#options.config
    const isAnywhere = host === '0.0.0.0' || host === '::'
    const own = isAnywhere ? hostname() : host
    const name = domain === undefined ? own : `${tenant}.${domain}`
    const place = `${name.includes(':') ? `[${name}]` : name}:${this.#port}`
    const words = tlsCert === undefined ? '' : '?sslmode=require'
    return `postgres://${role}:${password}@${place}/${tenant}${words}`
  }
}

const OWNER = '_owner'
