/**
 * `pg_stat_activity` among the clients of one tenant, which are one process: a row for each of
 * them. Postgres keeps a place for every backend that it could have, in memory that all of them
 * share, and there is one. While its function for the view is called, the places of the others are
 * filled with the tenant's other clients, and its own with what it cannot know of its own client;
 * then they are as before.
 *
 * Source: Postgres 18, backend_status.h (PgBackendStatus, BackendState), backend_status.c,
 * miscadmin.h (BackendType); pointers of 32 bits.
 */
import { assert } from '../base/assert.ts'
import { utf8 } from '../base/bytes.ts'
import { type BuiltinFunction, replaceBuiltin } from './builtin-functions.ts'
import type { Instance } from './instance.ts'
import { type MemorySearch, onlyPlace } from './memory-search.ts'

/** A client of a tenant, as others see it. */
export interface SessionFacts {
  readonly processId: number
  readonly applicationName: string
  /** `active`: it waits for its turn, or its statement has paused. */
  readonly state: 'idle' | 'active' | 'transaction' | 'failed'
  /** In milliseconds since 1970, as the next two. */
  readonly connectedMs: number
  /** When it sent its last batch; 0 before the first. */
  readonly requestMs: number
  /** Since when its state is as it is. */
  readonly stateSinceMs: number
  /** In microseconds since 2000; 0: none is open, or it is not known. */
  readonly transactionStart: bigint
  /** Of its last batch, that it waits with if it does; empty where that is not known. */
  readonly query: Uint8Array
}

export interface ActivityAnchors {
  /** Pointer to the place of the backend, the first of all. */
  readonly status: number
  /** Of one place. */
  readonly entryBytes: number
  /** In it: pointer to the name of the application; the next one is that to the last query. */
  readonly nameAt: number
  /** Entry of the function table that was called before. */
  readonly original: number
}

const FUNCTION: BuiltinFunction = [2022, 'pg_stat_get_activity']
/** struct PgBackendStatus; the state stands before the name of the application. */
const PROCESS_ID_AT = 4
const TYPE_AT = 8
const CONNECTED_AT = 16
const TRANSACTION_AT = 24
const REQUEST_AT = 32
const STATE_SINCE_AT = 40
const DATABASE_AT = 48
const USER_AT = 52
const ENTRY_BYTES_MAX = 1024
/** enum BackendType; BOOTSTRAP_SUPERUSERID: all clients have logged in as that. */
const CLIENT_BACKEND = 1
const USER_ID = 10
/** NAMEDATALEN; of that, what a name may have. */
const NAME_ROOM_BYTES = 64
/** enum BackendState, from the state of a backend that runs a statement. */
const STATES: Readonly<Record<SessionFacts['state'], number>> = {
  idle: -1,
  active: 0,
  transaction: 1,
  failed: 3,
}
/** From 1970 to 2000. */
const EPOCH_MS = 946_684_800_000

/** To be done where Postgres has not started. @returns what was called before */
export function replaceActivity(memory: MemorySearch, entry: number): number {
  return replaceBuiltin(memory, FUNCTION, entry)
}

/**
 * Finds out how a place looks like.
 * @param status where the pointer to that of the backend is
 * @param probe the name of its application, which nothing else has
 */
export function findActivity(
  memory: MemorySearch,
  { status, databaseId, probe }: { status: number; databaseId: number; probe: string },
): Omit<ActivityAnchors, 'original'> {
  const own = memory.word(status)
  assert(memory.word(own + DATABASE_AT) === databaseId, 'the place of a backend has its database')
  const nameAt = onlyPlace(
    'the name of the application',
    memory
      .textsEqualTo(probe)
      .flatMap((text) => memory.wordsEqualTo(text))
      .map((at) => at - own)
      .filter((offset) => offset > USER_AT && offset < ENTRY_BYTES_MAX),
  )
  const name = memory.word(own + nameAt)
  const entryBytes = onlyPlace(
    'the next place',
    memory
      .wordsEqualTo(name + NAME_ROOM_BYTES)
      .map((at) => at - own - nameAt)
      .filter((bytes) => bytes > nameAt && bytes < ENTRY_BYTES_MAX),
  )
  return { status, entryBytes, nameAt }
}

/** What stands in a place of the memory, and is to stand there again. */
interface Kept {
  readonly at: number
  readonly bytes: Uint8Array
}

/**
 * Shows the clients of a tenant to its statements.
 * @param sessions all of them; undefined: they are not known
 * @param ownId by which process id the backend goes
 */
export function showActivity(
  instance: Pick<Instance, 'module' | 'functionAt' | 'lent'>,
  anchors: ActivityAnchors,
  sessions: () => readonly SessionFacts[] | undefined,
  ownId: () => number,
): void {
  instance.lent.onActivity = (callAt) => {
    const places = new StatusPlaces(instance, anchors)
    try {
      const known = sessions()
      const own = known?.find(({ processId }) => processId === ownId())
      // Who asks for the pool is nobody's client, and sees what there is.
      if (known && own)
        places.fill(
          own,
          known.filter((each) => each !== own),
        )
      return Number(instance.functionAt(anchors.original)(callAt))
    } finally {
      places.restore()
    }
  }
}

class StatusPlaces {
  readonly #instance: Pick<Instance, 'module'>
  readonly #anchors: ActivityAnchors
  readonly #own: number
  readonly #kept: Kept[] = []

  constructor(instance: Pick<Instance, 'module'>, anchors: ActivityAnchors) {
    this.#instance = instance
    this.#anchors = anchors
    this.#own = this.#view.getUint32(anchors.status, true)
  }

  /** As many as there is room for. */
  fill(own: SessionFacts, others: readonly SessionFacts[]): void {
    const { entryBytes, nameAt } = this.#anchors
    const running = this.#view.getUint32(this.#own + nameAt - 4, true)
    this.#keep(this.#own, entryBytes)
    this.#identify(this.#own, own)
    for (const [index, session] of others.entries()) {
      const at = this.#own + (index + 1) * entryBytes
      if (!this.#isPlace(at, index + 1)) return
      this.#keep(at, entryBytes)
      this.#identify(at, session)
      const view = this.#view
      view.setUint32(at + PROCESS_ID_AT, session.processId, true)
      view.setUint32(at + DATABASE_AT, view.getUint32(this.#own + DATABASE_AT, true), true)
      view.setUint32(at + nameAt - 4, running + STATES[session.state], true)
      view.setBigInt64(at + TRANSACTION_AT, session.transactionStart, true)
      view.setBigInt64(at + REQUEST_AT, timeOf(session.requestMs), true)
      view.setBigInt64(at + STATE_SINCE_AT, timeOf(session.stateSinceMs), true)
      this.#text(at + nameAt, utf8(session.applicationName), NAME_ROOM_BYTES)
      this.#text(at + nameAt + 4, session.query, this.#queryRoomBytes)
    }
  }

  /** Memory may have grown meanwhile. */
  restore(): void {
    for (const { at, bytes } of this.#kept.toReversed()) this.#instance.module.HEAPU8.set(bytes, at)
  }

  #identify(at: number, { connectedMs }: SessionFacts): void {
    this.#view.setUint32(at + TYPE_AT, CLIENT_BACKEND, true)
    this.#view.setUint32(at + USER_AT, USER_ID, true)
    this.#view.setBigInt64(at + CONNECTED_AT, timeOf(connectedMs), true)
  }

  /** Beyond the last one lies something else. */
  #isPlace(at: number, index: number): boolean {
    const { nameAt } = this.#anchors
    if (at + this.#anchors.entryBytes > this.#instance.module.HEAPU8.length) return false
    const first = this.#view.getUint32(this.#own + nameAt, true)
    return this.#view.getUint32(at + nameAt, true) === first + index * NAME_ROOM_BYTES
  }

  get #queryRoomBytes(): number {
    const { entryBytes, nameAt } = this.#anchors
    const queryAt = this.#own + nameAt + 4
    return this.#view.getUint32(queryAt + entryBytes, true) - this.#view.getUint32(queryAt, true)
  }

  #text(pointerAt: number, text: Uint8Array, roomBytes: number): void {
    const at = this.#view.getUint32(pointerAt, true)
    const bytes = wholeCharacters(text, roomBytes - 1)
    this.#keep(at, bytes.length + 1)
    this.#instance.module.HEAPU8.set(bytes, at)
    this.#instance.module.HEAPU8[at + bytes.length] = 0
  }

  #keep(at: number, byteLength: number): void {
    this.#kept.push({ at, bytes: this.#instance.module.HEAPU8.slice(at, at + byteLength) })
  }

  get #view(): DataView {
    return new DataView(this.#instance.module.HEAPU8.buffer)
  }
}

/** As Postgres has a time; 0: none. */
function timeOf(ms: number): bigint {
  return ms === 0 ? 0n : BigInt(Math.round((ms - EPOCH_MS) * 1000))
}

/** The first of them that fit; a character of several bytes is not cut. */
function wholeCharacters(bytes: Uint8Array, max: number): Uint8Array {
  let end = Math.min(bytes.length, max)
  while (end < bytes.length && end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}
