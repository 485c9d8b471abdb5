/**
 * Carries the session of one client over a nap without an image. The tenant leaves its slot without
 * its memory, but clients that are connected must find what they left: settings, the role, prepared
 * statements. All of it can be read back from the backend and said again to the next one. What
 * cannot (temporary tables, session advisory locks, cursors WITH HOLD) goes along in an image, or
 * keeps the tenant in its slot where there can be none. Channels belong to all clients:
 * `tenant-sessions.ts` has them.
 *
 * Only the unnamed prepared statement is out of reach: it is in no catalog. A driver that parses it
 * in one round trip and binds it in the next must not be parted from its backend in between; the
 * slot's quantum and the idle time see to that.
 */
import { concatBytes, utf8 } from '../base/bytes.ts'
import { quoteIdentifier } from '../base/sql-name.ts'
import type { Slot } from '../engine/engine.ts'
import { message, SYNC } from '../base/protocol-message.ts'
import { OWN_NAME, ownQuery, readAnswer, type Row } from './backend-query.ts'

/** What a client has set up in the backend. */
export interface CarriedSession {
  /**
   * Messages that set it up again, each with its own end so that one refusal spoils nothing else.
   */
  readonly messages: readonly Uint8Array[]
  /** To be said at last: whom it acts as. Without it nothing may run in the session. */
  readonly identity: readonly Uint8Array[]
  /** Who that is: names may have come to mean somebody else. */
  readonly userIds: string
  /** What ends with the backend, in words; empty if the tenant may leave. */
  readonly pinnedBy: readonly string[]
}

/**
 * Tables, but also functions and types. Whatever lies in a schema depends on it. The client's own
 * search_path may put anything before Postgres's names, so they are said in full.
 */
const TEMPORARY_OBJECTS_SQL = `
  SELECT 1 FROM pg_catalog.pg_depend
    WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
    AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() LIMIT 1`

const CAPTURE_SQL = `
  SELECT CASE WHEN from_sql THEN 'prepare' ELSE 'parse' END, name, statement,
    parameter_types::pg_catalog.oid[]::pg_catalog.text FROM pg_catalog.pg_prepared_statements
    WHERE name OPERATOR(pg_catalog.<>) '${OWN_NAME}'
  UNION ALL SELECT 'pin', 'temporary objects', NULL, NULL WHERE EXISTS (${TEMPORARY_OBJECTS_SQL})`

/** Reads the session of an idle backend. Throws what the slot throws. */
export function captureSession(slot: Slot): CarriedSession {
  const { settings, holdsOn, holdsLocks, userIds } = slot.session
  const { rows, refusal } = readAnswer(slot.run(ownQuery(CAPTURE_SQL)))
  // Whoever cannot be asked is not taken apart.
  if (refusal !== undefined) {
    return { messages: [], identity: [], userIds, pinnedBy: [`a session that says: ${refusal}`] }
  }
  const of = (kind: string): readonly Row[] => rows.filter((row) => row[0] === kind)
  const prepared = of('prepare').map(([, , text]) => text ?? '')
  const carried = carriedFrom(settings, userIds)
  const messages = [
    ...carried.messages,
    ...of('parse').map(([, name, text, types]) => parse(name, text, types)),
    ...prepared.map(ownQuery),
  ]
  const pinnedBy = of('pin').map(([, what]) => what ?? '')
  if (holdsOn || holdsLocks) pinnedBy.push('advisory locks or cursors')
  if (!prepared.every((text) => isSingle(slot, text))) pinnedBy.push('statements prepared in a row')
  return { ...carried, messages, pinnedBy }
}

/** A session that is known to have settings, a role, and nothing else. */
export function carriedFrom(
  settings: ReadonlyMap<string, string>,
  userIds: string,
): CarriedSession {
  const messages = settingMessages([...settings].filter(([name]) => !IDENTITY.has(name)))
  return { messages, identity: identityMessages(settings), userIds, pinnedBy: [] }
}

/**
 * Postgres keeps of PREPARE all that came in the same message: said again, the rest would be done
 * again as well.
 */
function isSingle(slot: Slot, text: string): boolean {
  const { refusal } = readAnswer(slot.run(parse(OWN_NAME, text, '{}')))
  if (refusal === undefined) slot.run(concatBytes([message('C', utf8(`S${OWN_NAME}\0`)), SYNC]))
  return refusal === undefined
}

/**
 * Sets up a session in a backend that was just booted. Throws what the slot throws.
 * @returns why it does not act as whom it should; then nothing may run in it
 */
export function restoreSession(slot: Slot, session: CarriedSession): string | undefined {
  for (const each of session.messages) slot.run(each)
  // Last, because it may take the right to do the rest.
  const refusal = runAll(slot, session.identity)
  return refusal ?? (slot.session.userIds === session.userIds ? undefined : IDENTITY_CHANGED)
}

/** Runs messages of the pool, also after a refusal; the first one is returned. */
export function runAll(slot: Slot, messages: readonly Uint8Array[]): string | undefined {
  const refusals = messages.map((each) => readAnswer(slot.run(each)).refusal)
  return refusals.find((each) => each !== undefined)
}

const USER = 'session_authorization'
const ROLE = 'role'
/** Why a session that names its role as before may not go on. */
export const IDENTITY_CHANGED = 'its user or role is another one now'
/** Settings that say as whom a session acts. */
export const IDENTITY: ReadonlySet<string> = new Set([USER, ROLE])

/** Makes a session act as its settings say, from who the backend began as. */
export function identityMessages(settings: ReadonlyMap<string, string>): Uint8Array[] {
  const [user, role] = [settings.get(USER), settings.get(ROLE)]
  return [
    ...(user === undefined ? [] : [ownQuery(`SET SESSION AUTHORIZATION ${quoteIdentifier(user)}`)]),
    ...(role === undefined ? [] : [ownQuery(`SET ROLE ${quoteIdentifier(role)}`)]),
  ]
}

/** Values are bound, never written into SQL: how literals read is itself a setting. */
export function settingMessages(settings: readonly (readonly [string, string])[]): Uint8Array[] {
  if (settings.length === 0) return []
  const statement = 'SELECT pg_catalog.set_config($1, $2, false)'
  return [
    concatBytes([message('P', utf8(`${OWN_NAME}\0${statement}\0\0\0`)), SYNC]),
    ...settings.map((setting) =>
      concatBytes([message('B', bind(setting)), message('E', utf8(`${OWN_NAME}\0\0\0\0\0`)), SYNC]),
    ),
    concatBytes([message('C', utf8(`S${OWN_NAME}\0`)), SYNC]),
  ]
}

function bind(values: readonly string[]): Uint8Array {
  const parts = [utf8(`${OWN_NAME}\0${OWN_NAME}\0\0\0`), int16(values.length)]
  for (const value of values.map(utf8)) parts.push(int32(value.length), value)
  return concatBytes([...parts, int16(0)])
}

/** Parse of a named statement with the parameter types that it has. `types` is an array literal. */
function parse(
  name: string | null | undefined,
  text: string | null | undefined,
  types: string | null | undefined,
): Uint8Array {
  const oids = (types ?? '{}').slice(1, -1).split(',').filter(Boolean).map(Number)
  const body = concatBytes([
    utf8(`${name ?? ''}\0${text ?? ''}\0`),
    int16(oids.length),
    ...oids.map(int32),
  ])
  return concatBytes([message('P', body), SYNC])
}

function int16(value: number): Uint8Array {
  const bytes = new Uint8Array(2)
  new DataView(bytes.buffer).setInt16(0, value)
  return bytes
}

function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setInt32(0, value)
  return bytes
}
