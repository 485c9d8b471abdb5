/**
 * Carries out what a client has asked for by CREATE DATABASE and DROP DATABASE. The backend has
 * read the statements and answered as if they were done, in a transaction of their own each; the
 * answer waits here until they are, and says so if they were refused.
 *
 * Who may: a superuser, or a role with CREATEDB, as in a server, if the server lets this client
 * reach beyond its tenant. That a database has an owner, who alone may drop it, is not known here;
 * so only a superuser may copy one.
 */
import { concatBytes, textAt } from '../base/bytes.ts'
import { errorResponse, noticeResponse } from '../base/error-message.ts'
import { PgnapError, toPgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import type { DatabaseStatement } from '../engine/database-statements.ts'
import type { Slot } from '../engine/engine.ts'
import { ownQuery, readAnswer } from './backend-query.ts'
import type { DatabaseService } from './database-service.ts'
import { eachMessage } from '../base/message-frames.ts'

/** What one batch has asked for, in order. */
export interface AskedDatabases {
  readonly statements: readonly DatabaseStatement[]
  readonly isAllowed: boolean
}

interface Context {
  readonly from: TenantName
  readonly service: DatabaseService | undefined
}

const COMMAND_COMPLETE = 0x43
const READY_FOR_QUERY = 0x5a
const FRAME_HEAD_BYTES = 5
const TAGS: Readonly<Record<DatabaseStatement['kind'], string>> = {
  create: 'CREATE DATABASE',
  drop: 'DROP DATABASE',
}
/** As `createdb` in Postgres 18 knows them. Those that say how a database is kept mean nothing. */
const CREATE_OPTIONS: ReadonlySet<string> = new Set([
  'tablespace',
  'owner',
  'template',
  'encoding',
  'locale',
  'builtin_locale',
  'lc_collate',
  'lc_ctype',
  'icu_locale',
  'icu_rules',
  'locale_provider',
  'is_template',
  'allow_connections',
  'connection_limit',
  'collation_version',
  'location',
  'oid',
  'strategy',
])
/** What every database begins as. */
const EMPTY_TEMPLATES: ReadonlySet<string> = new Set(['template0', 'template1'])
const MAY_CREATE_SQL = `SELECT 1 FROM pg_catalog.pg_roles
  WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER AND rolcreatedb`

/** A client, as far as this is about it. */
interface Asking {
  readonly tenant: { readonly entry: { readonly name: TenantName } }
  /** Whether the server lets it. */
  readonly mayMakeDatabases: boolean
  /** What its last batch has asked for, and is still to be done. */
  asked: AskedDatabases | undefined
}

/**
 * Notes what a batch has asked for. A role that is no superuser is looked up. Throws what the slot
 * throws. @returns the answer, which that may have overwritten
 */
export function noteAsked(
  client: Asking,
  slot: Slot,
  { answer, complete }: { readonly answer: Uint8Array; readonly complete: boolean },
): Uint8Array {
  const statements = slot.takeDatabaseStatements()
  if (statements.length === 0) return answer
  const kept = new Uint8Array(answer)
  // A query of ours would end what a batch without its Sync has left open.
  const canAsk = complete && slot.transactionStatus === 'idle'
  const hasRole =
    statements.every(({ bySuperuser }) => bySuperuser) ||
    (canAsk && readAnswer(slot.run(ownQuery(MAY_CREATE_SQL))).rows.length > 0)
  client.asked = { statements, isAllowed: hasRole && client.mayMakeDatabases }
  return kept
}

/** The answer of a batch, when what it has asked for is done; others go on meanwhile. */
export function carriedOut(
  client: Asking,
  answer: Uint8Array | Promise<Uint8Array>,
  service: DatabaseService | undefined,
): Uint8Array | Promise<Uint8Array> {
  const { asked } = client
  if (!asked) return answer
  client.asked = undefined
  return carryOut(asked, answer, { from: client.tenant.entry.name, service })
}

/**
 * What has become of each statement goes before its CommandComplete, an error in its place; behind
 * that the answer is empty up to the end of the pipeline, as the backend's would be.
 */
async function carryOut(
  { statements, isAllowed }: AskedDatabases,
  answer: Uint8Array | Promise<Uint8Array>,
  { from, service }: Context,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let index = 0
  let failed = false
  for (const frame of framesOf(await answer)) {
    if (frame[0] === READY_FOR_QUERY) failed = false
    const statement = statements[index]
    const isItsEnd =
      statement && frame[0] === COMMAND_COMPLETE && tagOf(frame) === TAGS[statement.kind]
    if (isItsEnd) index++
    if (failed) continue
    try {
      if (isItsEnd) parts.push(...(await carryOutOne(statement, isAllowed, { from, service })))
      parts.push(frame)
    } catch (error) {
      parts.push(errorResponse(toPgnapError(error), 'ERROR'))
      failed = true
    }
  }
  return concatBytes(parts)
}

function framesOf(answer: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = []
  eachMessage(answer, (_, at, end) => frames.push(answer.subarray(at, end)))
  return frames
}

const tagOf = (frame: Uint8Array): string => textAt(frame, FRAME_HEAD_BYTES)

/** @returns a notice, if there is something to note */
async function carryOutOne(
  statement: DatabaseStatement,
  isAllowed: boolean,
  { from, service }: Context,
): Promise<Uint8Array[]> {
  const { kind, name, options, missingOk } = statement
  if (!isAllowed) throw notAllowed(statement)
  if (!service) throw new PgnapError('NOT_SUPPORTED', 'databases cannot be made here')
  if (kind === 'create') {
    const template = templateIn(options)
    if (template !== undefined && !statement.bySuperuser) throw notCopied(template)
    await service.create(name, from, template)
    return []
  }
  for (const option of options.keys()) {
    if (option !== 'force') throw unknownOption(`unrecognized DROP DATABASE option "${option}"`)
  }
  try {
    await service.drop(name, from, options.has('force'))
    return []
  } catch (error) {
    const isMissing = error instanceof PgnapError && error.code === 'TENANT_UNKNOWN'
    if (!missingOk || !isMissing) throw error
    return [noticeResponse(`database "${name}" does not exist, skipping`)]
  }
}

function templateIn(options: DatabaseStatement['options']): string | undefined {
  for (const option of options.keys()) {
    if (!CREATE_OPTIONS.has(option)) throw unknownOption(`option "${option}" not recognized`)
  }
  const encoding = options.get('encoding')
  if (encoding !== undefined && !/^(?:utf-?8|unicode|6)$/i.test(encoding)) {
    throw new PgnapError('NOT_SUPPORTED', `encoding ${encoding} is not supported`, {
      hint: 'every database has UTF8',
    })
  }
  const template = options.get('template')
  return template === undefined || EMPTY_TEMPLATES.has(template) ? undefined : template
}

function unknownOption(text: string): PgnapError {
  return new PgnapError('COMMAND_INVALID', text)
}

/** Who is none may copy his own, and databases have no owners here. */
function notCopied(template: string): PgnapError {
  return new PgnapError('REQUEST_REFUSED', `permission denied to copy database "${template}"`, {
    hint: 'only a superuser may; template1 is everybody’s',
  })
}

function notAllowed({ kind, name }: DatabaseStatement): PgnapError {
  const message =
    kind === 'create'
      ? 'permission denied to create database'
      : `permission denied to drop database "${name}"`
  return new PgnapError('REQUEST_REFUSED', message, {
    detail:
      'it takes a role with CREATEDB, and a server that makes databases when clients ask for them',
    hint: `use: pgnap tenant ${kind === 'create' ? 'create' : 'delete'} NAME`,
  })
}
