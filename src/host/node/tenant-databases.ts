/**
 * CREATE DATABASE and DROP DATABASE of sessions, as what they mean here: a tenant is made, or
 * removed. In the words of Postgres, which programs know. Who may do so was decided before.
 */
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import type { DatabaseService } from '../../pool/database-service.ts'
import { isTenantName, parseTenantName, RESERVED_NAMES } from '../../router/tenant-name.ts'
import type { ShardedControl } from './sharded-control.ts'
import type { TenantFolder } from './tenant-folder.ts'

export interface TenantDatabasesOptions {
  readonly folder: TenantFolder
  /** Known when the first session asks. */
  readonly control: () => Pick<ShardedControl, 'createTenant' | 'deleteTenant'>
}

export class TenantDatabases implements DatabaseService {
  readonly #options: TenantDatabasesOptions

  constructor(options: TenantDatabasesOptions) {
    this.#options = options
  }

  async create(name: string, from: TenantName, template: string | undefined): Promise<void> {
    if (RESERVED_NAMES.has(name)) throw alreadyExists(name)
    const tenant = parseTenantName(name)
    if (template !== undefined) throw await this.#noTemplate(template, from)
    try {
      await this.#options.control().createTenant(tenant)
    } catch (error) {
      throw error instanceof PgnapError && error.code === 'TENANT_EXISTS'
        ? alreadyExists(name)
        : error
    }
  }

  async drop(name: string, from: TenantName, force: boolean): Promise<void> {
    if (name === from) {
      throw new PgnapError('TENANT_BUSY', 'cannot drop the currently open database', {
        hint: 'connect to another one, say "postgres", and drop it from there',
      })
    }
    if (RESERVED_NAMES.has(name)) throw new PgnapError('REQUEST_REFUSED', `cannot drop "${name}"`)
    try {
      // What can be nobody's name does not exist.
      if (!isTenantName(name)) throw missing(name)
      await this.#options.control().deleteTenant(name, { unlessUsed: !force })
    } catch (error) {
      throw error instanceof PgnapError && error.code === 'TENANT_UNKNOWN' ? missing(name) : error
    }
  }

  async #noTemplate(template: string, from: TenantName): Promise<PgnapError> {
    const exists = isTenantName(template) && (await this.#options.folder.exists(template))
    if (!exists) {
      return new PgnapError('TENANT_UNKNOWN', `template database "${template}" does not exist`)
    }
    const what = template === from ? 'this database' : `"${template}"`
    return new PgnapError('NOT_SUPPORTED', `${what} cannot be the template of another database`, {
      hint: `pg_dump ${template} | psql copies it; without TEMPLATE the new one is empty`,
    })
  }
}

function alreadyExists(name: string): PgnapError {
  return new PgnapError('TENANT_EXISTS', `database "${name}" already exists`)
}

function missing(name: string): PgnapError {
  return new PgnapError('TENANT_UNKNOWN', `database "${name}" does not exist`)
}
