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
    const source = await this.#sourceOf(template)
    const control = this.#options.control()
    try {
      await control.createTenant(tenant, source, { unlessUsed: true, from })
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
      await this.#options.control().deleteTenant(name, force ? 'force' : 'unless used')
    } catch (error) {
      throw error instanceof PgnapError && error.code === 'TENANT_UNKNOWN' ? missing(name) : error
    }
  }

  /** Undefined: the new one is to be empty. */
  async #sourceOf(template: string | undefined): Promise<TenantName | undefined> {
    if (template === undefined) return undefined
    if (isTenantName(template) && (await this.#options.folder.exists(template))) return template
    // Tools say it for the one that every server has. Here it is there once somebody has used it.
    if (template === 'postgres') return undefined
    throw new PgnapError('TENANT_UNKNOWN', `template database "${template}" does not exist`)
  }
}

function alreadyExists(name: string): PgnapError {
  return new PgnapError('TENANT_EXISTS', `database "${name}" already exists`)
}

function missing(name: string): PgnapError {
  return new PgnapError('TENANT_UNKNOWN', `database "${name}" does not exist`)
}
