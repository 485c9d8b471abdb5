/**
 * A backend that knows sessions and nothing else: settings, whom it acts as, prepared statements
 * whose tables are found by address, channels and their queue. It understands what the pool says to
 * it, word for word, and a few simple statements of clients; whatever else it is told fails the
 * test.
 */
import assert from 'node:assert/strict'
import { concatBytes, fromUtf8, utf8 } from '../../src/base/bytes.ts'
import type { Slot, TransactionStatus } from '../../src/engine/engine.ts'
import {
  type BackendSession,
  EMPTY_FRAME,
  type SessionFrame,
} from '../../src/engine/session-memory.ts'
import { NO_TIMEOUTS } from '../../src/engine/timeout-memory.ts'
import { message } from '../../src/base/protocol-message.ts'
import { OWN_NAME } from '../../src/pool/backend-query.ts'
import { eachMessage } from '../../src/base/message-frames.ts'
import { say } from './messages.ts'

export const SUPERUSER = 'postgres'
const ROLE = 'role'
const USER = 'session_authorization'

/** Describe, Flush. */
const IGNORED = new Set(['D', 'H'])

interface Statement {
  readonly text: string
  readonly fromSql: boolean
}

type Row = readonly (string | null)[]

/** What its statement has not finished yet. */
interface Transaction {
  readonly listen: (() => void)[]
  readonly notify: [channel: string, payload: string][]
  readonly block: boolean
}

export class FakeSessionSlot implements Pick<Slot, 'run' | 'session' | 'transactionStatus'> {
  readonly session: BackendSession = sessionOf(this)
  transactionStatus: TransactionStatus = 'idle'
  readonly roles: Set<string> = new Set()
  holdsOn = false
  processId = 0
  /** Temporary tables that can be dropped at once. */
  temporaryTablesMax: number = Number.POSITIVE_INFINITY
  /** Own statements that are refused. */
  refuses: RegExp | undefined = undefined
  /** Statements of clients, with whom they ran as. */
  readonly ran: string[] = []
  /** Own statements. */
  readonly said: string[] = []
  readonly settings: Map<string, string> = new Map()
  /** What they go back to, where that is not empty. */
  readonly defaults: Map<string, string> = new Map()
  /** By ALTER DATABASE. */
  readonly stored: Map<string, string> = new Map()
  channels: readonly string[] = []
  #tables = new Map<number, Map<string, Statement>>()
  #nextTable = 0
  /** Temporary tables, by the id of their schema; ids by number. */
  readonly #temporary = new Map<number, Set<string>>()
  readonly #schemas = new Map<number, number>()
  #frame = EMPTY_FRAME
  #transaction: Transaction | undefined
  #queue: [channel: string, payload: string][] = []
  #portal: readonly string[] = []
  #statement = ''
  #sql = ''
  #failed = false
  /** Overwritten by each call, as that of a slot. */
  #answer = new Uint8Array(0)

  get slot(): Slot {
    return this as unknown as Slot
  }

  get frame(): SessionFrame {
    return this.#frame
  }

  set frame(frame: SessionFrame) {
    const table = frame.preparedStatements
    assert.ok(table === 0 || this.#tables.has(table), 'a frame is of this backend')
    this.#frame = frame
  }

  /** What is prepared in the session that it is in. */
  get prepared(): string[] {
    return [...(this.#tables.get(this.#frame.preparedStatements)?.values() ?? [])].map(
      ({ text }) => text,
    )
  }

  /** Those of the session that it is in. */
  get temporaryTables(): string[] {
    return [...(this.#temporary.get(this.#frame.temporary.schema) ?? [])]
  }

  get currentUser(): string {
    const role = this.settings.get(ROLE) ?? 'none'
    return role === 'none' ? (this.settings.get(USER) ?? SUPERUSER) : role
  }

  /** Another backend, of the same files. */
  restart(): void {
    this.settings.clear()
    this.defaults.clear()
    this.channels = []
    this.#tables.clear()
    this.#frame = EMPTY_FRAME
    this.holdsOn = false
  }

  /** A simple query of a client; the answer. */
  query(sql: string): Uint8Array {
    return this.run(say.query(sql))
  }

  run(messages: Uint8Array): Uint8Array {
    this.#answer.fill(0xff)
    const answer: Uint8Array[] = []
    eachMessage(messages, (type, at, end) => {
      const body = messages.slice(at + 5, end)
      answer.push(...this.#take(String.fromCharCode(type ?? 0), body))
    })
    this.#answer = concatBytes(answer)
    return this.#answer
  }

  #take(type: string, body: Uint8Array): Uint8Array[] {
    const words = fromUtf8(body).split('\0')
    if (type === 'S') return this.#sync()
    if (type === 'Q') return this.#query(words[0] ?? '')
    if (this.#failed) return []
    try {
      return this.#extended(type, words, body)
    } catch (error) {
      return this.#fail(error)
    }
  }

  #extended(type: string, words: string[], body: Uint8Array): Uint8Array[] {
    const [first = '', second = ''] = words
    if (type === 'P') {
      if (second.includes(';')) throw new Error('cannot insert multiple commands')
      if (first !== '' && this.#table().has(first))
        throw new Error(`statement ${first} already exists`)
      this.#table().set(first, { text: second, fromSql: false })
    } else if (type === 'B') {
      this.#statement = second
      this.#portal = this.#valuesOf(body)
    } else if (type === 'E') {
      const { text } = this.#table().get(this.#statement) ?? assert.fail('nothing to execute')
      this.#open()
      return this.#execute(text, this.#statement === OWN_NAME)
    } else if (type === 'C') this.#table().delete(first.slice(1))
    else assert.ok(IGNORED.has(type), `a message that it does not know: ${type}`)
    return []
  }

  #valuesOf(body: Uint8Array): string[] {
    const view = new DataView(body.buffer)
    let at = body.indexOf(0, body.indexOf(0) + 1) + 1 + 2
    const count = view.getInt16(at)
    at += 2
    return Array.from({ length: count }, () => {
      const start = at + 4
      at = start + view.getInt32(at)
      return fromUtf8(body.slice(start, at))
    })
  }

  #query(sql: string): Uint8Array[] {
    const answer: Uint8Array[] = []
    this.#sql = sql
    try {
      for (const each of sql.split(';')) {
        this.#open()
        answer.push(...this.#execute(each.trim(), sql === 'DISCARD ALL'))
      }
    } catch (error) {
      answer.push(...this.#fail(error))
    }
    return [...answer, ...this.#sync()]
  }

  #fail(error: unknown): Uint8Array[] {
    if (error instanceof assert.AssertionError) throw error
    this.#failed = true
    const text = error instanceof Error ? error.message : 'it failed'
    return [message('E', utf8(`SERROR\0C55000\0M${text}\0\0`))]
  }

  /** Statements are read by what they begin with; a client's are noted. */
  #execute(sql: string, own: boolean): Uint8Array[] {
    if (own) this.#sql = sql
    if (own && this.refuses?.test(sql)) raise('it is refused')
    const log = own ? this.said : this.ran
    log.push(`${this.currentUser}: ${sql}`)
    for (const [pattern, act] of this.#statements) {
      const match = pattern.exec(sql)
      if (!match) continue
      const rows = act(match.slice(1).map((each) => each ?? '')) ?? []
      const tag = (/^\w+/.exec(sql)?.[0] ?? '').toUpperCase()
      return [...rows.map((row) => this.#row(row)), message('C', utf8(`${tag}\0`))]
    }
    assert.fail(`a statement that it does not know: ${sql}`)
  }

  readonly #statements: [RegExp, (words: string[]) => Row[] | void][] = [
    [/^SELECT pg_catalog\.set_config\(\$1, \$2, false\)$/, () => this.#setConfig()],
    [/^SET SESSION AUTHORIZATION (.+)$/i, ([name = '']) => this.#authorize(nameOf(name))],
    [/^SET ROLE (.+)$/i, ([name = '']) => this.#setRole(nameOf(name))],
    [/^RESET ROLE$/i, () => void this.settings.delete(ROLE)],
    [/^RESET SESSION AUTHORIZATION$/i, () => this.#resetUser()],
    [
      /^SET (\S+) TO (.+)$/i,
      ([name = '', value = '']) => void this.settings.set(name, nameOf(value)),
    ],
    [/^RESET (\S+)$/i, ([name = '']) => void this.settings.delete(name.replaceAll('"', ''))],
    [/^LISTEN (.+)$/i, ([name = '']) => this.#listen(nameOf(name))],
    [/^UNLISTEN (.+)$/i, ([name = '']) => this.#unlisten(name)],
    [/^NOTIFY ("[^"]*"|\S+) (\S+)$/i, ([name = '', text = '']) => this.#notify(nameOf(name), text)],
    [/^SELECT listen_in_function\((\S+)\)$/, ([name = '']) => this.#listen(name)],
    [/^DO listen (\S+)$/, ([name = '']) => this.#listen(name)],
    [/^BEGIN$/i, () => this.#begin()],
    [/^(COMMIT|ROLLBACK)$/i, ([how = '']) => this.#end(how.toUpperCase() === 'COMMIT')],
    [
      /^PREPARE (\S+) AS/i,
      ([name = '']) => void this.#table().set(name, { text: this.#sql, fromSql: true }),
    ],
    [/^DISCARD ALL$/i, () => this.#discardAll()],
    [/pg_prepared_statements/, () => this.#capture()],
    [/pg_db_role_setting/, () => [...this.stored]],
    [/^CREATE TEMP TABLE (\S+)$/i, ([name = '']) => this.#createTemporary(name)],
    [/^FAIL$/i, () => raise('it fails')],
    [/^SELECT 1$/i, () => [['1']]],
  ]

  #table(): Map<string, Statement> {
    let address = this.#frame.preparedStatements
    if (address === 0) {
      address = ++this.#nextTable
      this.#tables.set(address, new Map())
      this.#frame = { ...this.#frame, preparedStatements: address }
    }
    return this.#tables.get(address) ?? assert.fail('the table is there')
  }

  /** A schema of that number that is there is taken for one of a backend that has ended. */
  #createTemporary(name: string): void {
    const { temporary } = this.#frame
    let { schema } = temporary
    if (schema === 0) {
      schema = this.#schemas.get(temporary.number) ?? this.#schemas.size + 1
      this.#schemas.set(temporary.number, schema)
      this.#temporary.set(schema, new Set())
      this.#frame = { ...this.#frame, temporary: { ...temporary, schema } }
    }
    this.#temporary.get(schema)?.add(name)
  }

  #setConfig(): void {
    const [name = '', value = ''] = this.#portal
    if (value === 'refused') raise(`invalid value for ${name}`)
    this.settings.set(name, value)
  }

  #authorize(user: string): void {
    if (!this.roles.has(user)) raise(`role ${user} does not exist`)
    this.settings.set(USER, user)
    this.settings.set(ROLE, 'none')
  }

  #setRole(role: string): void {
    if (role !== 'none' && !this.roles.has(role)) raise(`role ${role} does not exist`)
    this.settings.set(ROLE, role)
  }

  #resetUser(): void {
    this.settings.delete(USER)
    this.settings.delete(ROLE)
  }

  #discardAll(): void {
    if (this.temporaryTables.length > this.temporaryTablesMax) raise('out of shared memory')
    this.settings.clear()
    this.#tables.get(this.#frame.preparedStatements)?.clear()
    this.#frame = { ...this.#frame, sequences: 0, lastSequence: 0, unnamedStatement: 0 }
    this.#temporary.get(this.#frame.temporary.schema)?.clear()
    this.holdsOn = false
    this.#atCommit(() => (this.channels = []))
  }

  #capture(): Row[] {
    const rows: Row[] = []
    for (const [name, { text, fromSql }] of this.#table()) {
      if (name !== OWN_NAME) rows.push([fromSql ? 'prepare' : 'parse', name, text, '{}'])
    }
    if (this.temporaryTables.length > 0) rows.push(['pin', 'temporary objects', null, null])
    return rows
  }

  #row(row: Row): Uint8Array {
    const parts: Uint8Array[] = [Uint8Array.of(row.length >> 8, row.length & 255)]
    for (const value of row) {
      const bytes = utf8(value ?? '')
      const length = new Uint8Array(4)
      new DataView(length.buffer).setInt32(0, value === null ? -1 : bytes.length)
      parts.push(length, bytes)
    }
    return message('D', concatBytes(parts))
  }

  // Channels

  #atCommit(act: () => void): void {
    if (this.#transaction) this.#transaction.listen.push(act)
    else act()
  }

  #listen(name: string): void {
    this.#atCommit(() => {
      if (!this.channels.includes(name)) this.channels = [...this.channels, name]
    })
  }

  #unlisten(name: string): void {
    this.#atCommit(() => {
      this.channels = this.channels.filter((each) => name !== '*' && each !== nameOf(name))
    })
  }

  #notify(channel: string, payload: string): void {
    this.#transaction?.notify.push([channel, payload])
  }

  #open(): void {
    this.#transaction ??= { listen: [], notify: [], block: false }
  }

  #begin(): void {
    const open = this.#transaction ?? { listen: [], notify: [] }
    this.#transaction = { ...open, block: true }
  }

  #end(well: boolean): void {
    const open = this.#transaction
    this.#transaction = undefined
    if (!open || !well) return
    for (const act of open.listen) act()
    this.#queue.push(...open.notify)
  }

  #sync(): Uint8Array[] {
    const inBlock = this.#transaction?.block === true
    if (!inBlock) this.#end(!this.#failed)
    this.transactionStatus = inBlock ? (this.#failed ? 'failed' : 'transaction') : 'idle'
    this.#failed = false
    const status = inBlock ? 'T' : 'I'
    const heard = inBlock ? [] : this.#queue.splice(0)
    const notifications = heard
      .filter(([channel]) => this.channels.includes(channel))
      .map(([channel, payload]) => notification(channel, payload))
    return [...notifications, message('Z', utf8(status))]
  }
}

/** NotificationResponse. */
export function notification(channel: string, payload: string): Uint8Array {
  return message('A', concatBytes([new Uint8Array(4), utf8(`${channel}\0${payload}\0`)]))
}

/** Names in quotes, with escapes, or as they are. */
function nameOf(sql: string): string {
  if (sql.startsWith('U&')) {
    return nameOf(sql.slice(2)).replaceAll(/\\([\da-f]{4})/g, (_, point: string) =>
      String.fromCodePoint(Number.parseInt(point, 16)),
    )
  }
  return sql.startsWith('"') ? sql.slice(1, -1).replaceAll('""', '"') : sql.toLowerCase()
}

/** Read as a slot's, each time anew. */
function sessionOf(slot: FakeSessionSlot): BackendSession {
  return {
    get frame() {
      return slot.frame
    },
    set frame(frame) {
      slot.frame = frame
    },
    get preparedCount() {
      return slot.prepared.length
    },
    get processId() {
      return slot.processId
    },
    set processId(id) {
      slot.processId = id
    },
    setDefaults(defaults) {
      for (const [name, value] of defaults) slot.defaults.set(name, value)
    },
    defaultOf: (name) => (name === 'work_mem' ? '4' : undefined),
    get holdsOn() {
      return slot.holdsOn
    },
    get holdsLocks() {
      return slot.frame.locks.length > 0
    },
    isTaken: undefined,
    get mayHaveTemporaryTables() {
      return slot.frame.temporary.schema !== 0
    },
    get channels() {
      return slot.channels
    },
    get settings() {
      return new Map(slot.settings)
    },
    clientEncoding: 'UTF8',
    convert: (text) => text,
    portalCount: 0,
    timeouts: NO_TIMEOUTS,
    transactionStart: 0n,
    hasSnapshot: false,
    query: new Uint8Array(0),
    get mayHaveStoredSettings() {
      return slot.stored.size > 0
    },
    get userIds() {
      return `${slot.settings.get(USER) ?? SUPERUSER} ${slot.currentUser}`
    },
  }
}

function raise(text: string): never {
  throw new Error(text)
}
