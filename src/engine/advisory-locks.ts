/**
 * Session-level advisory locks of several sessions in one backend. Postgres's lock table knows one
 * holder, the backend; so it has the locks of the session that the backend is in, and those of a
 * session that is put aside are taken out of it and kept with what else is the session's own.
 *
 * What others hold is looked at before Postgres is asked for a lock: its functions are replaced by
 * ones that do that. Whoever only tries is told no. Whoever would wait is ended, because a backend
 * that waits could not run the one that holds the lock: as by a cancel, which nothing catches, if
 * all of it can be done anew when that has given the lock back (`advisory-desk.ts`); as by
 * lock_timeout if its transaction has begun before, or has written.
 *
 * Locks of a transaction are left to Postgres: while it is open nobody else has the backend.
 *
 * Source: Postgres 18, lockfuncs.c, lock.h (LOCALLOCK), locktag.h, lockdefs.h, timeout.h; pointers
 * of 32 bits, so that an int8 argument is one.
 */
import {
  argumentAt,
  type BuiltinFunction,
  findBuiltin,
  replaceBuiltin,
} from './builtin-functions.ts'
import { countOf, entriesOf } from './hash-table.ts'
import type { Instance } from './instance.ts'
import { type InterruptFlags, requestCancel, withdrawCancel } from './interrupts.ts'
import type { MemorySearch } from './memory-search.ts'
import type { BackendSession } from './session-memory.ts'
import { NO_TIMEOUTS, noteLockTimeout, type SessionTimeouts } from './timeout-memory.ts'
import type { WalTail } from './wal-tail.ts'

/** What a lock is on, and how. */
export interface AdvisoryLock {
  /** One number of 64 bits, or two of 32. */
  readonly kind: 'one' | 'two'
  /** The upper half, or the first one. */
  readonly first: number
  readonly second: number
  readonly isShared: boolean
}

/** As a session has it. */
export interface HeldLock extends AdvisoryLock {
  /** How often it was taken. */
  readonly count: number
}

/** Addresses of variables, unless it is said otherwise. */
export interface AdvisoryAnchors {
  /** What was called before, in the order of {@link LOCKING}. */
  readonly originals: readonly number[]
  /** Function that gives back all that a session holds. */
  readonly unlockAll: number
}

interface LockingFunction {
  readonly builtin: BuiltinFunction
  readonly kind: AdvisoryLock['kind']
  readonly isShared: boolean
  readonly isTry: boolean
  readonly ofSession: boolean
}

/** Ids of those on one number; of those on two they are six more. */
const IDS = { lock: 2880, xact_lock: 3089, try_lock: 2882, try_xact_lock: 3091 } as const
const TWO_NUMBERS = { lock: 2886, xact_lock: 3093, try_lock: 2888, try_xact_lock: 3095 } as const

/** In the order in which they are lent. */
export const LOCKING: readonly LockingFunction[] = (['one', 'two'] as const).flatMap((kind) =>
  (['lock', 'xact_lock', 'try_lock', 'try_xact_lock'] as const).flatMap((how) =>
    [false, true].map((isShared): LockingFunction => {
      const id = (kind === 'one' ? IDS : TWO_NUMBERS)[how] + (isShared ? 1 : 0)
      const isTry = how.startsWith('try')
      const ofSession = !how.includes('xact')
      const verb = `${isTry ? 'try_' : ''}advisory${ofSession ? '' : '_xact'}_lock`
      const name = `pg_${verb}${isShared ? '_shared' : ''}_${kind === 'one' ? 'int8' : 'int4'}`
      return { builtin: [id, name], kind, isShared, isTry, ofSession }
    }),
  ),
)

const UNLOCK_ALL: BuiltinFunction = [2892, 'pg_advisory_unlock_all']

/** struct LOCALLOCK: begins with what it is on: three words, half a word, type, method; mode. */
const SECOND_AT = 4
const THIRD_AT = 8
const KIND_AT = 12
const MODE_AT = 16
const COUNT_AT = 32
/** Kinds of an advisory lock's tag; the method of locks that users take; ShareLock. */
const TAG_ONE = 1
const USER_METHOD = 2
const SHARE_LOCK = 5
/** A call with two arguments, the numbers that the first may point to behind them. */
const CALL_BYTES = 48
const CALL_NUMBER_AT = 40
const CALL_ARGUMENT_COUNT_AT = 18
const NONE: readonly HeldLock[] = []

/**
 * Puts functions of ours in the place of Postgres's, in a memory in which it has not started.
 * @param entries of the function table, in the order of {@link LOCKING}
 */
export function replaceLocking(memory: MemorySearch, entries: readonly number[]): AdvisoryAnchors {
  const originals = LOCKING.map(({ builtin }, index) =>
    replaceBuiltin(memory, builtin, entries[index] ?? 0),
  )
  return { originals, unlockAll: findBuiltin(memory, UNLOCK_ALL) }
}

/** Whether two sessions cannot have both. */
export function isConflict(one: AdvisoryLock, other: AdvisoryLock): boolean {
  const isSame = one.kind === other.kind && one.first === other.first && one.second === other.second
  return isSame && !(one.isShared && other.isShared)
}

/** Of a run that could not have a lock. */
export interface LockedOut {
  readonly lock: AdvisoryLock
  /** It began outside of a transaction, and none has got an id in it: it can be run anew. */
  readonly canRunAnew: boolean
  /** Postgres has not raised an error where the lock was wanted: what ran may think it has it. */
  readonly isUntold: boolean
  /** Statements that the session had prepared by name before. */
  readonly preparedCount: number
  /** Limits in force where the lock was wanted: what has set them may be rolled back by now. */
  readonly timeouts: SessionTimeouts
}

/** Of the same slot. */
export interface LockParts {
  readonly flags: InterruptFlags
  /** Of the session: statements prepared by name, and limits in force. */
  readonly session: Pick<BackendSession, 'preparedCount' | 'timeouts'>
  readonly walTail: Pick<WalTail, 'nextTransaction' | 'localTransaction'>
}

type LockingInstance = Pick<
  Instance,
  'module' | 'word' | 'setWord' | 'functionOf' | 'functionAt' | 'lent' | 'pausing'
>

/** The advisory locks of the session that a backend is in. */
export class AdvisoryLocks {
  readonly #instance: LockingInstance
  readonly #anchors: AdvisoryAnchors & { readonly localLocks: number }
  readonly #flags: InterruptFlags
  readonly #walTail: LockParts['walTail']
  /** When the run began; undefined: that was in a transaction. */
  #nextTransaction: number | undefined
  #heldBefore: readonly HeldLock[] = NONE
  #preparedBefore = 0
  #timeouts: SessionTimeouts = NO_TIMEOUTS
  readonly #session: LockParts['session']
  #lockedOut: AdvisoryLock | undefined
  #isUntold = false
  /** Whether another session holds what keeps this one from a lock. Undefined: nobody has any. */
  isTaken: ((lock: AdvisoryLock) => boolean) | undefined

  constructor(
    instance: LockingInstance,
    anchors: AdvisoryAnchors & { readonly localLocks: number },
    { flags, walTail, session }: LockParts,
  ) {
    this.#instance = instance
    this.#anchors = anchors
    this.#flags = flags
    this.#walTail = walTail
    this.#session = session
    instance.lent.onLocking = (index, callAt) => this.#called(index, callAt)
  }

  /** Held by the session, outside of a transaction. Throws what wasm throws. */
  get held(): readonly HeldLock[] {
    const { localLocks } = this.#anchors
    const table = this.#instance.word(localLocks)
    if (countOf((at) => this.#instance.word(at), table) === 0) return NONE
    return entriesOf(this.#instance, table)
      .filter((at) => this.#instance.word(at + KIND_AT) >>> 24 === USER_METHOD)
      .map((at) => this.#read(at))
  }

  /** Throws what wasm throws. */
  set held(locks: readonly HeldLock[]) {
    if (this.held.length > 0) this.#call(this.#anchors.unlockAll, () => {})
    for (const lock of locks) for (let n = 0; n < lock.count; n++) this.#take(lock)
  }

  /** A run begins. @param isIdle outside of a transaction */
  begin(isIdle: boolean): void {
    this.#lockedOut = undefined
    this.#isUntold = false
    this.#nextTransaction = undefined
    // In a pipeline that has not come to its Sync there is one that is no block.
    if (!isIdle || !this.isTaken || this.#walTail.localTransaction !== 0) return
    this.#nextTransaction = this.#walTail.nextTransaction
    this.#heldBefore = this.held
    this.#preparedBefore = this.#session.preparedCount
  }

  /**
   * A run has ended. If it can be run anew the session has what it had before.
   * @returns what it could not have; undefined: it had what it wanted
   */
  settle(): LockedOut | undefined {
    const lock = this.#lockedOut
    if (!lock) return undefined
    this.#lockedOut = undefined
    withdrawCancel(this.#flags)
    noteLockTimeout(this.#flags, false)
    const canRunAnew = this.#isUntouched
    if (canRunAnew) this.held = this.#heldBefore
    return {
      lock,
      canRunAnew,
      isUntold: this.#isUntold,
      preparedCount: this.#preparedBefore,
      timeouts: this.#timeouts,
    }
  }

  get #isUntouched(): boolean {
    return this.#walTail.nextTransaction === this.#nextTransaction
  }

  #read(at: number): HeldLock {
    const word = (place: number): number => this.#instance.word(at + place)
    return {
      kind: (word(KIND_AT) & 0xffff) === TAG_ONE ? 'one' : 'two',
      first: word(SECOND_AT),
      second: word(THIRD_AT),
      isShared: word(MODE_AT) === SHARE_LOCK,
      count: word(COUNT_AT),
    }
  }

  /** Postgres calls. Throws what wasm throws. */
  #called(index: number, callAt: number): number {
    const asked = LOCKING[index]
    const original = this.#anchors.originals[index] ?? 0
    const lock = asked && this.isTaken ? this.#lockOf(asked, callAt) : undefined
    if (asked && lock && this.isTaken?.(lock)) {
      if (asked.isTry) return 0
      this.#lockedOut = lock
      this.#timeouts = this.#session.timeouts
      this.#refuse()
      return 0
    }
    return Number(this.#instance.functionAt(original)(callAt))
  }

  /**
   * Raises the error here and now: where Postgres next looks for interrupts a row may have left, or
   * been written. Throws it. Comes back only while Postgres holds interrupts off.
   */
  #refuse(): void {
    noteLockTimeout(this.#flags, !this.#isUntouched)
    requestCancel(this.#flags)
    const raise = (): void => void this.#instance.functionOf('ProcessInterrupts')()
    const { pausing } = this.#instance
    if (pausing) pausing.without(raise)
    else raise()
    this.#isUntold = true
  }

  #lockOf({ kind, isShared }: LockingFunction, callAt: number): AdvisoryLock {
    const value = this.#instance.word(argumentAt(callAt, 0))
    if (kind === 'two') {
      return { kind, first: value, second: this.#instance.word(argumentAt(callAt, 1)), isShared }
    }
    const [second, first] = [this.#instance.word(value), this.#instance.word(value + 4)]
    return { kind, first, second, isShared }
  }

  #take({ kind, isShared, first, second }: AdvisoryLock): void {
    const index = LOCKING.findIndex(
      (each) => each.ofSession && !each.isTry && each.kind === kind && each.isShared === isShared,
    )
    this.#call(this.#anchors.originals[index] ?? 0, (callAt) => {
      const set = (at: number, value: number): void => this.#instance.setWord(at, value)
      if (kind === 'two') {
        set(argumentAt(callAt, 0), first)
        set(argumentAt(callAt, 1), second)
        return
      }
      set(argumentAt(callAt, 0), callAt + CALL_NUMBER_AT)
      set(callAt + CALL_NUMBER_AT, second)
      set(callAt + CALL_NUMBER_AT + 4, first)
    })
  }

  #call(entry: number, fill: (callAt: number) => void): void {
    // Of the context of the last message, which the next one empties.
    const callAt = Number(this.#instance.functionOf('palloc')(CALL_BYTES))
    this.#instance.module.HEAPU8.fill(0, callAt, callAt + CALL_BYTES)
    this.#instance.module.HEAPU8[callAt + CALL_ARGUMENT_COUNT_AT] = 2
    fill(callAt)
    this.#instance.functionAt(entry)(callAt)
  }
}
