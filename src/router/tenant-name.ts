/**
 * What a client types as its database name, and what it may mean: `tenant` or `tenant@branch`.
 *
 * A tenant's name becomes a file name, a metrics label and a Postgres identifier, so it is checked
 * here, once, and travels as a branded type from then on. Nothing below this room may parse names.
 */
import { PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'

/** Letters, digits, `_` and `-`, beginning with a letter or digit; at most `tenantNameCharsMax`. */
const NAME = /^[a-z0-9][a-z0-9_-]*$/

/** The database name under which one finds the admin console, which shows a running server. */
export const CONSOLE_NAME = 'pgnap'

/**
 * Names that are no tenants: the admin console; and the templates, which exist in every cluster and
 * which clients that list databases skip. `postgres` is not here: a client that names no database,
 * and every tool that needs some database to begin with, asks for it, so it is a tenant like any
 * other.
 */
export const RESERVED_NAMES: ReadonlySet<string> = new Set([CONSOLE_NAME, 'template0', 'template1'])

/** Where a request is going. */
export interface TenantAddress {
  readonly tenant: TenantName
  /** Undefined for the tenant itself. */
  readonly branch: string | undefined
}

/** Reads `tenant` or `tenant@branch`. @throws PgnapError TENANT_NAME_INVALID */
export function parseTenantAddress(text: string): TenantAddress {
  const at = text.indexOf('@')
  if (at < 0) return { tenant: parseTenantName(text), branch: undefined }
  const branch = text.slice(at + 1)
  if (!isName(branch)) throw invalid('branch', branch)
  return { tenant: parseTenantName(text.slice(0, at)), branch }
}

/** Reads the name of a tenant. @throws PgnapError TENANT_NAME_INVALID, also for reserved names */
export function parseTenantName(text: string): TenantName {
  if (!isName(text)) throw invalid('database', text)
  if (RESERVED_NAMES.has(text)) {
    throw new PgnapError('TENANT_NAME_INVALID', `database name "${text}" is reserved`, {
      hint:
        text === CONSOLE_NAME
          ? `choose another name; "${CONSOLE_NAME}" is the admin console, see SHOW HELP there`
          : 'choose another name',
    })
  }
  return text as TenantName
}

/** Whether a tenant may have this name. */
export function isTenantName(text: string): text is TenantName {
  return isName(text) && !RESERVED_NAMES.has(text)
}

export function unknownTenant(tenant: TenantName): PgnapError {
  return new PgnapError('TENANT_UNKNOWN', `database "${tenant}" does not exist`, {
    hint: `create it with: pgnap tenant create ${tenant}`,
  })
}

function isName(text: string): boolean {
  return text.length <= LIMITS.tenantNameCharsMax && NAME.test(text)
}

/** The name is shown cut and with its control characters made visible: it may be anything. */
function invalid(what: string, text: string): PgnapError {
  const shown = JSON.stringify(text.slice(0, LIMITS.tenantNameCharsMax))
  return new PgnapError('TENANT_NAME_INVALID', `${what} name ${shown} is not valid`, {
    detail: `1 to ${LIMITS.tenantNameCharsMax} of a-z, 0-9, "_", "-"; first a letter or digit`,
    hint:
      text === ''
        ? 'name a database in the connection string'
        : 'use lower-case letters and digits',
  })
}
