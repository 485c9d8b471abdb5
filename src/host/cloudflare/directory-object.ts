/**
 * What belongs to all tenants: their names, the templates that their stores stand on
 * (`kept-templates.ts`), and which of them are asked most (`keep-warm.ts`). Objects cannot be
 * listed, so each tenant is entered here before it is made. A name without a tenant may therefore
 * be left behind by a failure; whoever lists looks.
 */
import { DurableObject } from 'cloudflare:workers'
import { LIMITS } from '../../base/limits.ts'
import { type Heat, HotTenants } from '../../router/hot-tenants.ts'
import { workerClock } from './clock.ts'
import type { Environment } from './environment.ts'

export class DirectoryObject extends DurableObject<Environment> {
  #hot: HotTenants | undefined

  constructor(context: DurableObjectState, environment: Environment) {
    super(context, environment)
    context.storage.sql.exec(`
      CREATE TABLE IF NOT EXISTS tenant (name TEXT PRIMARY KEY) STRICT;
      CREATE TABLE IF NOT EXISTS template (id TEXT PRIMARY KEY, packed BLOB NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS heat
        (name TEXT PRIMARY KEY, score REAL NOT NULL, at REAL NOT NULL) STRICT`)
  }

  /** Idempotent, as is {@link remove}. */
  async add(name: string): Promise<void> {
    this.ctx.storage.sql.exec('INSERT OR IGNORE INTO tenant VALUES (?)', name)
  }

  async remove(name: string): Promise<void> {
    this.ctx.storage.sql.exec('DELETE FROM tenant WHERE name = ?', name)
    await this.forgetHeat(name)
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

  /** So often tenants have been asked, somewhere. */
  async noteHeat(counts: readonly (readonly [name: string, count: number])[]): Promise<void> {
    const { sql } = this.ctx.storage
    const nowMs = workerClock.nowMs()
    for (const [name, count] of counts) {
      const { heat, gone } = this.#heat.note(name, count, nowMs)
      sql.exec('INSERT OR REPLACE INTO heat VALUES (?, ?, ?)', name, heat.score, heat.atMs)
      for (const cold of gone) sql.exec('DELETE FROM heat WHERE name = ?', cold)
    }
  }

  /** The hottest first; none that have cooled down. */
  async hottest(count: number): Promise<Heat[]> {
    return this.#heat.hottest(count, LIMITS.hotScoreMin, workerClock.nowMs())
  }

  async forgetHeat(name: string): Promise<void> {
    this.#heat.forget(name)
    this.ctx.storage.sql.exec('DELETE FROM heat WHERE name = ?', name)
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

  get #heat(): HotTenants {
    const options = { namesMax: LIMITS.hotTenantsMax, halfLifeMs: LIMITS.hotHalfLifeMs }
    return (this.#hot ??= new HotTenants(options, this.#keptHeat()))
  }

  #keptHeat(): Heat[] {
    const rows = this.ctx.storage.sql.exec('SELECT name, score, at FROM heat').toArray()
    return rows.map(({ name, score, at }) => ({
      name: String(name),
      score: Number(score),
      atMs: Number(at),
    }))
  }
}
