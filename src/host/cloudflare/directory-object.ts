/**
 * The names of all tenants: objects cannot be listed, so each tenant is entered here before it is
 * made. A name without a tenant may therefore be left behind by a failure; whoever lists looks.
 */
import { DurableObject } from 'cloudflare:workers'
import type { Environment } from './environment.ts'

export class DirectoryObject extends DurableObject<Environment> {
  constructor(context: DurableObjectState, environment: Environment) {
    super(context, environment)
    context.storage.sql.exec('CREATE TABLE IF NOT EXISTS tenant (name TEXT PRIMARY KEY) STRICT')
  }

  /** Idempotent, as is {@link remove}. */
  async add(name: string): Promise<void> {
    this.ctx.storage.sql.exec('INSERT OR IGNORE INTO tenant VALUES (?)', name)
  }

  async remove(name: string): Promise<void> {
    this.ctx.storage.sql.exec('DELETE FROM tenant WHERE name = ?', name)
  }

  /** The first `limit` names after `after`, in order. */
  async page(after: string, limit: number): Promise<string[]> {
    const { sql } = this.ctx.storage
    const rows = sql.exec(
      'SELECT name FROM tenant WHERE name > ? ORDER BY name LIMIT ?',
      after,
      limit,
    )
    return rows.toArray().map(({ name }) => String(name))
  }
}
