/**
 * What somebody has typed at the admin console, as commands. Total over any text: it gives commands
 * or throws an error that says what to type instead.
 *
 * SQL is not run here and must not seem to be: a statement that would have an effect on a database
 * is refused, never ignored. What drivers send on their own when they connect or are reused (SET,
 * RESET, DISCARD) is taken and means nothing.
 */
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { REPORTED_SETTINGS } from '../wire/greeting.ts'
import { SqlLexer, type TokenKind } from '../../base/sql-lexer.ts'
import type { Operations } from '../operations.ts'
import type { Page, Table } from './table.ts'
import { table } from './table.ts'
import { TABLES } from './tables.ts'

export type Command =
  | { readonly kind: 'show'; readonly table: Table; readonly page: Page }
  | Act
  /** Something that is only answered, with this tag. */
  | { readonly kind: 'acknowledge'; readonly tag: string }

/** Something that is done to the server. */
export interface Act {
  readonly kind: 'act'
  readonly tag: string
  /** For as long as it takes, or until it is cancelled, or its client leaves. */
  readonly patient: boolean
  readonly run: (operations: Operations, signal: AbortSignal) => Promise<void>
}

interface Token {
  readonly kind: TokenKind
  /** As typed. */
  readonly text: string
  /** Without quotes; words in lower case. */
  readonly value: string
}

type ActVerb = 'pause' | 'resume' | 'reconnect' | 'reload' | 'kill'

const EVERYTHING: Page = { after: undefined, limit: LIMITS.tenantsPerPageMax }

/**
 * The commands of one message, in order; none for an empty text.
 * @param settingNames the settings of the server in lower case: to SET one is refused
 * @throws PgnapError COMMAND_INVALID, NOT_SUPPORTED
 */
export function parseCommands(text: string, settingNames: ReadonlySet<string>): Command[] {
  return statementsIn(text).map((tokens) => parseCommand(tokens, settingNames))
}

function parseCommand(tokens: readonly Token[], settingNames: ReadonlySet<string>): Command {
  const verb = tokens[0]?.value ?? ''
  switch (verb) {
    case 'show':
      return parseShow(tokens.slice(1))
    case 'set':
      return parseSet(tokens.slice(1), settingNames)
    case 'reset':
      return { kind: 'acknowledge', tag: 'RESET' }
    case 'discard':
      return { kind: 'acknowledge', tag: 'DISCARD ALL' }
    case 'pause':
    case 'resume':
    case 'reconnect':
    case 'reload':
    case 'kill':
      return parseAct(verb, tokens.slice(1))
    default:
      throw refusal(verb, tokens[0]?.text ?? '')
  }
}

function parseAct(verb: ActVerb, tokens: readonly Token[]): Act {
  const [first, more] = tokens
  const tag = verb.toUpperCase()
  if (more || first?.kind === 'symbol') throw invalid(`${tag} takes the name of one database`)
  const database = first?.value
  const act = (run: Act['run']): Act => ({ kind: 'act', tag, patient: verb === 'pause', run })
  switch (verb) {
    case 'pause':
      return act((operations, signal) => operations.pause(database, signal))
    case 'resume':
      return act((operations) => operations.resume(database))
    case 'reconnect':
      return act((operations) => operations.reconnect(database))
    case 'kill':
      if (database === undefined) throw invalid('KILL takes the name of one database')
      return act((operations) => operations.kill(database))
    case 'reload':
      if (database !== undefined) throw invalid('RELOAD takes no more words')
      return act((operations) => operations.reload())
  }
}

function parseShow(tokens: readonly Token[]): Command {
  const name = tokens[0]?.value ?? 'help'
  const found = Object.hasOwn(TABLES, name) ? TABLES[name] : undefined
  const rest = tokens.slice(1)
  if (found?.paged) return { kind: 'show', table: found, page: parsePage(rest) }
  if (found && rest.length === 0) return { kind: 'show', table: found, page: EVERYTHING }
  const all = tokens.map(({ value }) => value).join(' ')
  if (Object.hasOwn(DRIVER_SETTINGS, all)) return showSetting(all, DRIVER_SETTINGS[all] ?? '')
  if (PGBOUNCER_ONLY.has(name)) throw unsupported(`SHOW ${name.toUpperCase()}`)
  throw invalid(
    found ? `SHOW ${name.toUpperCase()} takes no more words` : `cannot show ${shown(name)}`,
  )
}

/** `[AFTER name] [LIMIT count]` */
function parsePage(tokens: readonly Token[]): Page {
  let { after, limit } = EVERYTHING
  for (let index = 0; index < tokens.length; index += 2) {
    const word = tokens[index]?.value
    const value = tokens[index + 1]
    if (word === 'after' && value && value.kind !== 'symbol') after = value.value
    else if (word === 'limit' && value && /^[0-9]{1,9}$/.test(value.text)) {
      limit = Math.min(Number(value.text), LIMITS.tenantsPerPageMax)
    } else throw invalid('after SHOW TENANTS only AFTER name and LIMIT count may stand')
  }
  return { after, limit }
}

function parseSet(tokens: readonly Token[], settingNames: ReadonlySet<string>): Command {
  const [first] = tokens
  const scoped = first?.value === 'session' || first?.value === 'local'
  const name = (scoped ? tokens[1] : first)?.value.toLowerCase() ?? ''
  if (name === '') throw invalid('SET needs a name and a value')
  if (settingNames.has(name)) {
    throw new PgnapError('NOT_SUPPORTED', `"${name}" cannot be changed while the server runs`, {
      hint: 'change the configuration and start the server again; SHOW CONFIG tells what it has',
    })
  }
  return { kind: 'acknowledge', tag: 'SET' }
}

/** Settings that drivers ask for, as the greeting has told them. */
const DRIVER_SETTINGS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    Object.entries(REPORTED_SETTINGS).map(([name, value]) => [name.toLowerCase(), value]),
  ),
  transaction_isolation: 'read committed',
  'transaction isolation level': 'read committed',
  default_transaction_isolation: 'read committed',
}

function showSetting(typed: string, value: string): Command {
  const name = typed.replace('transaction isolation level', 'transaction_isolation')
  const setting = table(name, async () => [value], [{ name, type: 'text', of: (text) => text }])
  return { kind: 'show', table: setting, page: EVERYTHING }
}

/** What PgBouncer shows and pgnap has not. */
const PGBOUNCER_ONLY = words(
  'active_sockets dns_hosts dns_zones fds mem peers peer_pools sockets users',
)

const TRANSACTIONS = words('abort begin commit end release rollback savepoint start')

const SQL = words(
  'alter analyze call checkpoint close comment copy create deallocate declare delete do drop',
  'execute explain fetch grant insert listen lock merge move notify prepare reassign refresh',
  'reindex revoke select table truncate unlisten update vacuum values with',
)

/** PgBouncer's commands that do something, and what does it here. */
const INSTEAD: Readonly<Record<string, string>> = {
  disable: 'refuse clients in front of the server',
  enable: 'nothing is ever disabled',
  kill_client: 'end the client itself; SHOW CLIENTS tells its address',
  suspend: 'send SIGTERM to the server: it drains and ends',
  shutdown: 'send SIGTERM to the server: it drains and ends',
  wait_close: 'PAUSE waits for all that RECONNECT would: say it, then RESUME',
}

function refusal(verb: string, typed: string): PgnapError {
  if (Object.hasOwn(INSTEAD, verb)) return unsupported(verb.toUpperCase(), INSTEAD[verb])
  if (TRANSACTIONS.has(verb)) {
    return new PgnapError('NOT_SUPPORTED', 'the admin console has no transactions', {
      hint: 'let the driver commit by itself (autocommit); SHOW HELP tells the commands',
    })
  }
  if (SQL.has(verb)) {
    return new PgnapError('NOT_SUPPORTED', 'the admin console runs no SQL', {
      hint: 'SHOW HELP tells the commands; for SQL connect to the database of a tenant',
    })
  }
  return invalid(`invalid command ${shown(typed)}`)
}

function unsupported(what: string, instead?: string): PgnapError {
  const hint = instead === undefined ? 'SHOW HELP tells the commands' : `${instead}; or SHOW HELP`
  return new PgnapError('NOT_SUPPORTED', `${what} is not supported by pgnap`, { hint })
}

function invalid(message: string): PgnapError {
  return new PgnapError('COMMAND_INVALID', message, { hint: 'SHOW HELP tells the commands' })
}

/** It may be anything, and long. */
function shown(text: string): string {
  return JSON.stringify(text.slice(0, LIMITS.tenantNameCharsMax))
}

function statementsIn(text: string): Token[][] {
  const lexer = new SqlLexer(text)
  const statements: Token[][] = []
  let tokens: Token[] = []
  for (;;) {
    const kind = lexer.next()
    const typed = lexer.text
    if (kind === 'end' || typed === ';') {
      if (tokens.length > 0) statements.push(tokens)
      if (kind === 'end') return statements
      tokens = []
    } else tokens.push({ kind, text: typed, value: valueOf(kind, typed) })
  }
}

function valueOf(kind: TokenKind, text: string): string {
  if (kind === 'word') return text.toLowerCase()
  return /^(['"]).*\1$/s.test(text) ? text.slice(1, -1) : text
}

function words(...lines: readonly string[]): ReadonlySet<string> {
  return new Set(lines.join(' ').split(' '))
}
