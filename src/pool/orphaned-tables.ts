/**
 * Temporary tables whose session has ended and has not dropped them: its backend was killed, or
 * there were more than one transaction can lock. Nobody can read them, they take room, and they
 * keep the ids of old transactions in use, which are not endless. In a server autovacuum drops them
 * one by one; here it is a part of upkeep.
 *
 * What else such a session has left (functions, types) goes when its schema is used again.
 */
import type { Slot } from '../engine/engine.ts'
import { ownQuery, readAnswer } from './backend-query.ts'

/** Dropped in one transaction, which locks each of them, its indexes and its long values. */
const AT_ONCE = 100

/**
 * Drops some. Throws what the slot throws.
 * @param inUse ids of the schemas of sessions that go on
 * @returns whether there may be more
 */
export function dropOrphans(slot: Slot, inUse: readonly number[]): boolean {
  const { rows } = readAnswer(slot.run(ownQuery(orphansSql(inUse))))
  if (rows.length === 0) return false
  const names = rows.map(([name]) => name).join(', ')
  // Whoever has the backend may have a role that must not.
  return readAnswer(slot.run(ownQuery(`DROP TABLE ${names} CASCADE`))).refusal === undefined
}

/** The client's own search_path may put anything before Postgres's names. */
function orphansSql(inUse: readonly number[]): string {
  return `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.relpersistence OPERATOR(pg_catalog.=) 't'
    AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog."char"[])
    AND n.oid OPERATOR(pg_catalog.<>) ALL ('{${inUse.join()}}'::pg_catalog.oid[]) LIMIT ${AT_ONCE}`
}
