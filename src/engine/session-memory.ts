/**
 * What of a backend's memory belongs to one session, read and written from outside between two
 * batches: so one backend serves several clients by turns, each with its own prepared statements
 * and sequence values, and not a byte of what they send is changed.
 *
 * Most of it are static variables that point to hash tables and lists on the heap. A session that
 * is put aside is those pointers: what they point at stays where it is, also over a nap, and
 * Postgres itself sees to it (plans of all sessions are invalidated, because they are in one list
 * of all saved plans). Temporary tables take more than that (`temporary-schemas.ts`).
 *
 * Source: prepare.c, postgres.c, sequence.c, lock.c, portalmem.c, namespace.c, async.c, guc.c,
 * dynahash.c and pg_list.h of Postgres 18, on a machine with pointers of 32 bits.
 */
import { textAt } from '../base/bytes.ts'
import {
  type AdvisoryAnchors,
  type AdvisoryLock,
  AdvisoryLocks,
  type HeldLock,
  type LockParts,
} from './advisory-locks.ts'
import { ClientEncoding, type EncodingAnchors } from './client-encoding.ts'
import type { ScanAnchors } from './database-scan.ts'
import type { StatementAnchors } from './database-statements.ts'
import type { EmscriptenModule } from './emscripten.ts'
import { countOf } from './hash-table.ts'
import type { Instance } from './instance.ts'
import type { SignalFunctions } from './lent-functions.ts'
import { type ProcessAnchors, processIdIn, setProcessId } from './process-memory.ts'
import type { ActivityAnchors } from './session-activity.ts'
import { defaultOf, setDefaults } from './session-defaults.ts'
import {
  NO_TEMPORARY,
  type TemporaryAnchors,
  type TemporaryFrame,
  TemporarySchemas,
} from './temporary-schemas.ts'
import {
  NO_TIMEOUTS,
  type SessionTimeouts,
  TIMEOUT_NAMES,
  type TimeoutAnchors,
} from './timeout-memory.ts'

/** Addresses of variables. */
export interface SessionAnchors {
  /** Hash table of named prepared statements; null until the first. */
  readonly preparedStatements: number
  /** The unnamed statement, or null. */
  readonly unnamedStatement: number
  /** Hash table of what nextval and currval know; null until the first. */
  readonly sequences: number
  /** The sequence of lastval, an entry of that table, or null. */
  readonly lastSequence: number
  /** Hash table of locks held; between transactions they are advisory ones of the session. */
  readonly localLocks: number
  /** Hash table of portals; between transactions they are cursors WITH HOLD. */
  readonly portals: number
  /** List of the channels that are listened to, or null. */
  readonly channels: number
  /** Head of the list of settings that are not at their defaults. */
  readonly settings: number
  /** One byte: whether the client is told of settings that change (`setting-reports.ts`). */
  readonly reporting: number
  readonly timeouts: TimeoutAnchors
  /** Of all of Postgres's timeouts, by id. */
  readonly timeoutTable: number
  /** Whether a command is being read: a byte; see `command-read.ts`. */
  readonly commandRead: number
  /** When the open transaction began: 8 bytes; see `transaction-start.ts`. */
  readonly transactionStart: number
  /** Whether it has had a snapshot: a byte; see `first-snapshot.ts`. */
  readonly firstSnapshot: number
  readonly temporary: TemporaryAnchors
  readonly advisory: AdvisoryAnchors
  readonly process: ProcessAnchors
  readonly encoding: EncodingAnchors
  readonly activity: Omit<ActivityAnchors, 'original'>
  /** Postgres's own functions that send a signal, which others stand for. */
  readonly signals: SignalFunctions
  readonly statements: StatementAnchors
  readonly scans: ScanAnchors
  /** Postgres's own function for `pg_stat_activity`, which another one stands for. */
  readonly activityFunction: number
  /** Postgres's own functions about databases, which others stand for. */
  readonly databaseFunctions: readonly number[]
}

/** struct List: tag, length, room, elements. */
const LIST_LENGTH_AT = 4
export const LIST_ELEMENTS_AT = 12
/** struct config_generic: name, source, links of the list of settings (previous, next). */
export const SETTING_SOURCE_AT = 32
export const SETTING_LINK_AT = 64
export const LINK_NEXT_AT = 4
/** enum GucSource: set by SET. */
export const SOURCE_SESSION = 13

/** What of a backend's memory belongs to the session that has it, and can be put aside. */
export interface SessionFrame {
  readonly preparedStatements: number
  readonly unnamedStatement: number
  readonly sequences: number
  readonly lastSequence: number
  readonly temporary: TemporaryFrame
  /** Advisory locks of the session. */
  readonly locks: readonly HeldLock[]
}

/** Of a session that has not done anything yet. */
export const EMPTY_FRAME: SessionFrame = {
  preparedStatements: 0,
  unnamedStatement: 0,
  sequences: 0,
  lastSequence: 0,
  temporary: NO_TEMPORARY,
  locks: [],
}

/** What of an instance is needed here. */
interface SessionInstance extends Pick<
  Instance,
  'module' | 'functionOf' | 'functionAt' | 'word' | 'setWord' | 'lent' | 'pausing'
> {
  readonly files: Pick<Instance['files'], 'mayHaveStoredSettings'>
}

/** The session's variables of one backend, while it is between two batches. */
export class SessionMemory implements BackendSession {
  readonly #anchors: SessionAnchors
  readonly #instance: SessionInstance
  readonly #module: EmscriptenModule
  readonly encoding: ClientEncoding
  readonly #temporary: TemporarySchemas
  readonly locks: AdvisoryLocks
  #view: DataView

  constructor(
    anchors: SessionAnchors,
    instance: SessionInstance,
    parts: Omit<LockParts, 'session'>,
  ) {
    this.#anchors = anchors
    this.#instance = instance
    this.#module = instance.module
    this.encoding = new ClientEncoding(anchors.encoding, instance)
    this.#temporary = new TemporarySchemas(anchors.temporary, instance)
    const advisory = { ...anchors.advisory, localLocks: anchors.localLocks }
    this.locks = new AdvisoryLocks(instance, advisory, { ...parts, session: this })
    this.#view = viewOf(instance.module.HEAPU8)
  }

  get frame(): SessionFrame {
    const { preparedStatements, unnamedStatement, sequences, lastSequence } = this.#anchors
    return {
      preparedStatements: this.#word(preparedStatements),
      unnamedStatement: this.#word(unnamedStatement),
      sequences: this.#word(sequences),
      lastSequence: this.#word(lastSequence),
      temporary: this.#temporary.frame,
      locks: this.locks.held,
    }
  }

  set frame(frame: SessionFrame) {
    const view = this.#current
    for (const name of FRAME_NAMES) view.setUint32(this.#anchors[name], frame[name], true)
    this.#temporary.frame = frame.temporary
    this.locks.held = frame.locks
  }

  get preparedCount(): number {
    const { preparedStatements } = this.#anchors
    return this.#word(preparedStatements) === 0 ? 0 : this.#countOf(preparedStatements)
  }

  get processId(): number {
    return processIdIn(this.#current, this.#anchors.process)
  }

  set processId(id: number) {
    const { process } = this.#anchors
    setProcessId(this.#current, process, id === 0 ? process.own : id)
  }

  get query(): Uint8Array {
    const heap = this.#module.HEAPU8
    const at = this.#queryAt
    return heap.slice(at, heap.indexOf(0, at))
  }

  set query(text: Uint8Array) {
    const heap = this.#module.HEAPU8
    const at = this.#queryAt
    heap.set(text, at)
    heap[at + text.length] = 0
  }

  get #queryAt(): number {
    const { status, nameAt } = this.#anchors.activity
    return this.#word(this.#word(status) + nameAt + 4)
  }

  setDefaults(defaults: ReadonlyMap<string, string>): void {
    setDefaults(this.#instance, defaults)
  }

  defaultOf(name: string): string | undefined {
    return defaultOf(this.#instance, name)
  }

  get clientEncoding(): string {
    return this.encoding.name
  }

  convert(text: Uint8Array, from: string, to: string): Uint8Array | undefined {
    return this.encoding.convert(text, from, to)
  }

  get holdsOn(): boolean {
    return this.portalCount > 0
  }

  get holdsLocks(): boolean {
    return this.#countOf(this.#anchors.localLocks) > 0
  }

  get isTaken(): ((lock: AdvisoryLock) => boolean) | undefined {
    return this.locks.isTaken
  }

  set isTaken(isTaken: ((lock: AdvisoryLock) => boolean) | undefined) {
    this.locks.isTaken = isTaken
  }

  get portalCount(): number {
    return this.#countOf(this.#anchors.portals)
  }

  get mayHaveTemporaryTables(): boolean {
    return this.#temporary.areThere
  }

  get channels(): readonly string[] {
    const list = this.#word(this.#anchors.channels)
    if (list === 0) return []
    const elements = this.#word(list + LIST_ELEMENTS_AT)
    const heap = this.#module.HEAPU8
    return Array.from({ length: this.#word(list + LIST_LENGTH_AT) }, (_, index) =>
      textAt(heap, this.#word(elements + index * 4)),
    )
  }

  get settings(): ReadonlyMap<string, string> {
    const head = this.#anchors.settings
    const settings = new Map<string, string>()
    for (let link = this.#word(head + LINK_NEXT_AT); link !== head;) {
      const setting = link - SETTING_LINK_AT
      link = this.#word(link + LINK_NEXT_AT)
      if (this.#word(setting + SETTING_SOURCE_AT) !== SOURCE_SESSION) continue
      const nameAt = this.#word(setting)
      const name = textAt(this.#module.HEAPU8, nameAt)
      const valueAt = this.#module._GetConfigOption(nameAt, 1, 0)
      if (valueAt !== 0 && !NOT_OF_THE_SESSION.has(name)) {
        settings.set(name, textAt(this.#module.HEAPU8, valueAt))
      }
    }
    return settings
  }

  get timeouts(): SessionTimeouts {
    const { timeouts } = this.#anchors
    const isSet = TIMEOUT_NAMES.some((name) => this.#word(timeouts[name]) !== 0)
    if (!isSet) return NO_TIMEOUTS
    const values = TIMEOUT_NAMES.map((name) => [name, this.#word(timeouts[name])])
    return Object.fromEntries(values) as SessionTimeouts
  }

  get mayHaveStoredSettings(): boolean {
    return this.#instance.files.mayHaveStoredSettings
  }

  get transactionStart(): bigint {
    return this.#current.getBigInt64(this.#anchors.transactionStart, true)
  }

  set transactionStart(at: bigint) {
    this.#current.setBigInt64(this.#anchors.transactionStart, at, true)
  }

  get hasSnapshot(): boolean {
    return this.#current.getUint8(this.#anchors.firstSnapshot) !== 0
  }

  set hasSnapshot(has: boolean) {
    this.#current.setUint8(this.#anchors.firstSnapshot, has ? 1 : 0)
  }

  get userIds(): string {
    return `${this.#module._GetSessionUserId()} ${this.#module._GetUserId()}`
  }

  #countOf(table: number): number {
    return countOf((at) => this.#word(at), this.#word(table))
  }

  #word(at: number): number {
    return this.#current.getUint32(at, true)
  }

  /** A memory that has grown has another buffer. */
  get #current(): DataView {
    const heap = this.#module.HEAPU8
    if (this.#view.buffer !== heap.buffer) this.#view = viewOf(heap)
    return this.#view
  }
}

/** The session that a backend is in. Valid between two batches, outside of a transaction. */
export interface BackendSession {
  /**
   * Reading it is what puts a session aside; writing it brings one back. **A frame is good only
   * until its session has run again**, and only in the backend (or an image of it) that it is of.
   */
  frame: SessionFrame
  /** Named statements that are prepared in it. */
  readonly preparedCount: number
  /** By which number the backend goes now, as its process id; to write 0 gives it its own. */
  processId: number
  /**
   * What a client has had run last in the backend, or the first thousand bytes of it. Only what was
   * read here, in this backend or another of the same build, may be written.
   */
  query: Uint8Array
  /**
   * Gives settings other defaults: what RESET goes back to, and the value of whatever the session
   * has not set itself. Outside of a transaction.
   */
  setDefaults(defaults: ReadonlyMap<string, string>): void
  /**
   * What RESET of a setting goes back to, as `pg_settings.reset_val` has it, '' for none.
   * Undefined: it is not among those that are listed.
   */
  defaultOf(name: string): string | undefined
  /** In which encoding its client talks, as Postgres calls it. */
  readonly clientEncoding: string
  /**
   * Text of one encoding in another, one of which is UTF8 and the other one that a session of this
   * backend has had. Undefined: it has no such text.
   */
  convert(text: Uint8Array, from: string, to: string): Uint8Array | undefined
  /** Whether a session that begins is to be given settings; false: there are none. */
  readonly mayHaveStoredSettings: boolean
  /** Cursors WITH HOLD: what cannot be put aside. */
  readonly holdsOn: boolean
  /** Advisory locks of the session. */
  readonly holdsLocks: boolean
  /**
   * Whether another session keeps this one from an advisory lock: asked in its runs before Postgres
   * is. Default: none does.
   */
  isTaken: ((lock: AdvisoryLock) => boolean) | undefined
  /** Cursors and portals that are open, the unnamed one included. */
  readonly portalCount: number
  /** False: there are none. True: ask. */
  readonly mayHaveTemporaryTables: boolean
  /** Channels that are listened to, in order of LISTEN. */
  readonly channels: readonly string[]
  /** What was set and not reset, the role included, in no order. */
  readonly settings: ReadonlyMap<string, string>
  /** The time limits in force, wherever they were set; NO_TIMEOUTS itself if there are none. */
  readonly timeouts: SessionTimeouts
  /** When the open transaction began, as `now()` says it: microseconds since 2000. */
  transactionStart: bigint
  /**
   * Whether the open transaction has had a snapshot: its modes stand then. To be set only where
   * each statement gets a new one anyway (READ COMMITTED).
   */
  hasSnapshot: boolean
  /** Who the session began as, and who it acts as: names may come to mean somebody else. */
  readonly userIds: string
}

/** What can be told of a session from its memory alone, when that is about to go. */
export type SessionRemains = Readonly<
  Pick<
    BackendSession,
    'preparedCount' | 'holdsOn' | 'holdsLocks' | 'mayHaveTemporaryTables' | 'settings' | 'userIds'
  >
>

/** Asks the backend nothing: that would read its tenant's store. Outside of a transaction. */
export function remainsOf(session: BackendSession): SessionRemains {
  const { preparedCount, holdsOn, holdsLocks, mayHaveTemporaryTables, settings, userIds } = session
  return { preparedCount, holdsOn, holdsLocks, mayHaveTemporaryTables, settings, userIds }
}

/**
 * Settings that are no session's: the seed of random() can be set and not read; those of a
 * transaction mean nothing between two, and can be neither set nor reset there.
 */
export const NOT_OF_THE_SESSION: ReadonlySet<string> = new Set([
  'seed',
  'transaction_isolation',
  'transaction_read_only',
  'transaction_deferrable',
])

const FRAME_NAMES = ['preparedStatements', 'unnamedStatement', 'sequences', 'lastSequence'] as const

function viewOf(heap: Uint8Array): DataView {
  return new DataView(heap.buffer, heap.byteOffset, heap.byteLength)
}
