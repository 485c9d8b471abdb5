/**
 * What belongs to all tenants: their names, and the templates that their stores stand on
 * (`kept-templates.ts`). Objects cannot be listed, so each tenant is entered here before it is
 * made. A name without a tenant may therefore be left behind by a failure; whoever lists looks.
 */
import { DurableObject } from 'cloudflare:workers'
import type { Environment } from './environment.ts'

export class DirectoryObject extends DurableObject<Environment> {
  constructor(context: DurableObjectState, environment: Environment) {
    super(context, environment)
    context.storage.sql.exec(`
      CREATE TABLE IF NOT EXISTS tenant (name TEXT PRIMARY KEY) STRICT;
      CREATE TABLE IF NOT EXISTS template (id TEXT PRIMARY KEY, packed BLOB NOT NULL) STRICT`)
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

  async hasTemplate(id: string): Promise<boolean> {
    const { sql } = this.ctx.storage
    return sql.exec('SELECT 1 FROM template WHERE id = ?', id).toArray().length > 0
  }

  /** @param packed 1.5 MB under gzip; the platform allows 2 in a row. Idempotent. */
  async keepTemplate(id: string, packed: Uint8Array<ArrayBuffer>): Promise<void> {
    const bytes = new Uint8Array(packed).buffer
    this.ctx.storage.sql.exec('INSERT OR IGNORE INTO template VALUES (?, ?)', id, bytes)
  }

  async template(id: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { sql } = this.ctx.storage
    const [row] = sql.exec('SELECT packed FROM template WHERE id = ?', id).toArray()
    return row && new Uint8Array(row['packed'] as ArrayBuffer)
  }
}
