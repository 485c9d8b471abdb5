/**
 * Who may use which database, and what they prove it with.
 *
 *   administrators  of the password file: every tenant, the admin console, the JSON API
 *   roles           of one tenant, made with it: that tenant and nothing else
 *
 * A name that both have is the administrator's. A role counts only while its tenant exists, so that
 * what was left behind by a tenant opens nothing.
 *
 * Everything is looked up at every call, found or not: how long an answer takes must not tell which
 * names there are.
 */
import type { TenantName } from '../base/ids.ts'
import type { Credentials } from './credentials.ts'
import type { Verifier } from './scram-verifier.ts'
import { isTenantName, unknownTenant } from './tenant-name.ts'

/** The roles of all tenants. */
export interface RoleBook {
  verifierOf(tenant: TenantName, role: string): Verifier | undefined
}

export interface UsersOptions {
  readonly administrators: Credentials
  readonly roles: RoleBook
  /** Whether a tenant exists, asked and answered at once. */
  readonly exists: (tenant: TenantName) => boolean
  /** Whether anybody may know that there is no such tenant. */
  readonly tellsUnknown: boolean
}

/** Stands for a name that no tenant may have, so that the same is asked for it. */
const NO_TENANT = 'postgres' as TenantName

export class Users {
  readonly administrators: Credentials
  readonly #roles: RoleBook
  readonly #exists: (tenant: TenantName) => boolean
  readonly #tellsUnknown: boolean

  constructor({ administrators, roles, exists, tellsUnknown }: UsersOptions) {
    this.#tellsUnknown = tellsUnknown
    this.administrators = administrators
    this.#roles = roles
    this.#exists = exists
  }

  /** Whether a user who has proven who it is may reach beyond one tenant. */
  isAdministrator(user: string): boolean {
    return this.administrators.verifierOf(user) !== undefined
  }

  /**
   * What `user` proves to be with to use `database` (`tenant`, `tenant@branch`, or the console's);
   * undefined if there is no such user, or it may not.
   * @throws PgnapError TENANT_UNKNOWN where that may be told
   */
  verifierOf(user: string, database: string): Verifier | undefined {
    const [name = ''] = database.split('@', 1)
    const isName = isTenantName(name)
    const tenant = isName ? name : NO_TENANT
    const administrator = this.administrators.verifierOf(user)
    const role = this.#roles.verifierOf(tenant, user)
    const exists = this.#exists(tenant)
    if (this.#tellsUnknown && isName && !exists) throw unknownTenant(tenant)
    return administrator ?? (isName && exists ? role : undefined)
  }
}
