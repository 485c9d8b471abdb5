/**
 * The sessions of one tenant's clients in the one backend that they share. A client that gets the
 * backend finds what it left: its prepared statements and sequence values are put in place by their
 * addresses (`session-memory.ts`), its settings and role are said again where they differ from
 * those of the client before it. Clients of one application mostly have the same settings, so that
 * a change of hands says nothing at all and costs a few microseconds.
 *
 * What cannot be put aside (cursors WITH HOLD) keeps the backend with its client; that is `pinned`,
 * and the business of `pool-state.ts`.
 *
 * It must never run a client's statement under the role or the settings of another. A session that
 * could not be brought back as it was is refused from then on, whoever has the backend in between.
 */
import { assert } from '../base/assert.ts'
import { recodeMessages } from '../base/recode-messages.ts'
import { quoteIdentifier } from '../base/sql-name.ts'
import { type AdvisoryLock, isConflict } from '../engine/advisory-locks.ts'
import { UTF8 } from '../engine/client-encoding.ts'
import type { Slot } from '../engine/engine.ts'
import { EMPTY_FRAME, type SessionFrame, type SessionRemains } from '../engine/session-memory.ts'
import { NO_TEMPORARY } from '../engine/temporary-schemas.ts'
import { CLOSE_UNNAMED, DISCARD_ALL, ownQuery, readAnswer } from './backend-query.ts'
import type { LeftInFork } from './left-in-fork.ts'
import { OwedStatements } from './owed-statements.ts'
import type { SaidStatements } from './reading-batch.ts'
import { processIdOf } from './process-id.ts'
import { type SessionOwner, TenantChannels } from './tenant-channels.ts'
import { hasOnlyAsked, isOnlySettings } from './session-content.ts'
import { isSame, SessionDefaults } from './session-defaults.ts'
import {
  captureSession,
  carriedFrom,
  type CarriedSession,
  IDENTITY,
  IDENTITY_CHANGED,
  identityMessages,
  restoreSession,
  runAll,
  settingMessages,
} from './session-carry.ts'

/** What of a session can be put aside, as it was when its client last had the backend. */
interface Aside {
  readonly frame: SessionFrame
  readonly preparedCount: number
  readonly settings: ReadonlyMap<string, string>
  readonly userIds: string
  /** In which its client talks. */
  readonly encoding: string
}

/** What a batch in a fork has left of its owner's session. */
export interface ForkedSession extends LeftInFork {
  /** The fork, which is in that session. */
  readonly slot: Pick<Slot, 'session'>
  /** Its settings when the batch began. */
  readonly before: ReadonlyMap<string, string>
}

const APPLICATION_NAME = 'application_name'
const NOTHING = new Uint8Array(0)
/** Whoever says nothing else is who the backend began as, under whatever name. */
const NEW: Omit<Aside, 'userIds'> = {
  frame: EMPTY_FRAME,
  preparedCount: 0,
  settings: new Map(),
  encoding: UTF8,
}

export class TenantSessions<Owner extends SessionOwner> {
  /** Whose session the backend is in; undefined: nobody's, it is as after a start. */
  #current: Owner | undefined
  readonly #aside = new Map<Owner, Aside>()
  /** Those of them that hold advisory locks. */
  readonly #lockers = new Set<Owner>()
  /** Owners that have left, and whose sessions are not forgotten yet. */
  readonly #departed = new Set<Owner>()
  /** Why the session of an owner is not whole: nothing may run for it, as if it were new. */
  readonly #refused = new WeakMap<Owner, string>()
  /** Tables of sessions that have ended: empty, and for the next, since nothing frees them. */
  readonly #spare: SessionFrame[] = []
  /** Numbers of sessions that have temporary tables and are aside, or have been. */
  readonly #numbers = new Set<number>()
  #owed = new OwedStatements<Owner>()
  /** What was read out before the backend ended, to be said again to the next. */
  #carried = new Map<Owner, CarriedSession>()
  #defaults = new SessionDefaults<Owner>()
  /** What owners whom the backend is not in the session of have asked last. */
  #asked = new WeakMap<Owner, Uint8Array>()
  readonly channels: TenantChannels<Owner> = new TenantChannels((owner, slot) =>
    this.encodingOf(owner, slot),
  )

  /** Asked while the backend is in a session: whether one that is aside has that. */
  readonly #isTaken = (lock: AdvisoryLock): boolean => {
    for (const owner of this.#lockers) {
      const isHeld = this.#aside.get(owner)?.frame.locks.some((held) => isConflict(held, lock))
      if (isHeld === true && !this.#departed.has(owner)) return true
    }
    return false
  }

  /** Sessions that the backend holds. */
  get count(): number {
    return this.#aside.size + (this.#current ? 1 : 0)
  }

  /** Ids of the schemas of temporary tables that somebody has. */
  temporarySchemas(slot: Slot): number[] {
    const frames = [slot.session.frame, ...[...this.#aside.values()].map(({ frame }) => frame)]
    return frames.map(({ temporary }) => temporary.schema).filter((schema) => schema !== 0)
  }

  /** For whoever would take over an image, and end its session: of this one something stays. */
  get countInImage(): number {
    return this.#defaults.areSomebodys ? this.count + 1 : this.count
  }

  /**
   * Puts the backend into the session of `owner`, a new one if it has none. Throws what the slot
   * throws. @returns why that is not possible: then nothing may run for this owner any more
   */
  enter(owner: Owner, slot: Slot): string | undefined {
    const refused = this.#refused.get(owner)
    if (refused !== undefined) return refused
    if (this.#current === owner) {
      this.#tellLocks(slot)
      // A nap has put them aside.
      this.#defaults.apply(owner, slot)
      return undefined
    }
    if (this.#departed.size > 0) this.discard(slot)
    const known = this.#aside.get(owner)
    const to = known ?? { ...NEW, frame: this.#spare.pop() ?? EMPTY_FRAME }
    const from = this.#putAside(slot)
    this.#aside.delete(owner)
    this.#lockers.delete(owner)
    this.#tellLocks(slot)
    this.#current = owner
    slot.session.frame = this.#numbered(to.frame)
    slot.session.processId = processIdOf(owner)
    slot.session.query = this.#asked.get(owner) ?? NOTHING
    this.#begin(owner, slot)
    this.#defaults.apply(owner, slot)
    let refusal = runAll(slot, changes(from, to.settings))
    // What is stored may be hidden from the role that the backend had before.
    this.#begin(owner, slot)
    this.#owed.say(owner, slot)
    const isOther = known !== undefined && known.userIds !== slot.session.userIds
    if (isOther) refusal ??= IDENTITY_CHANGED
    if (refusal !== undefined) this.#refused.set(owner, refusal)
    return refusal
  }

  /**
   * `owner`, whose session the backend is in, has run nothing but what gave it its settings: RESET
   * goes back to them. Throws what the slot throws. @returns the answer, which that may overwrite
   */
  begun(owner: Owner, slot: Slot, answer: Uint8Array): Uint8Array {
    assert(this.#current === owner, 'a session that begins has the backend')
    const kept = new Uint8Array(answer)
    slot.session.query = NOTHING
    if (slot.transactionStatus === 'idle' && this.#defaults.keep(owner, slot)) {
      this.#defaults.apply(owner, slot)
    }
    return kept
  }

  /** Leaves nothing of a session in the backend that only this object knows. */
  beforeNap(slot: Slot): void {
    if (slot.transactionStatus === 'idle') this.#defaults.apply(undefined, slot)
  }

  /**
   * Whose session has what cannot be put aside, so that nobody else can have the backend. Throws
   * what the slot throws.
   */
  pinned(slot: Slot): Owner | undefined {
    return slot.session.holdsOn ? this.#current : undefined
  }

  /**
   * Who else than `owner` holds what keeps it from an advisory lock.
   * @param slot the backend, if it is in one; if it is not, the last one who had it is passed over
   */
  holdersOf(lock: AdvisoryLock, owner: Owner, slot: Slot | undefined): Owner[] {
    const current = this.#current
    const here = slot && current ? ([[current, slot.session.frame]] as const) : []
    const aside = [...this.#aside].map(([each, { frame }]) => [each, frame] as const)
    return [...here, ...aside]
      .filter(([each]) => each !== owner && !this.#departed.has(each))
      .filter(([, { locks }]) => locks.some((held) => isConflict(held, lock)))
      .map(([each]) => each)
  }

  /** Whether anybody else than `owner` holds an advisory lock, or might. @param slot the backend */
  mayBeLockedOut(owner: Owner, { session }: Slot): boolean {
    if (this.#current === owner || !this.#current) return this.#lockers.size > 0
    return this.#lockers.size > 0 || session.holdsLocks
  }

  /** What the client of an owner calls itself. @param slot the backend, if it is in one */
  applicationNameOf(owner: Owner, slot: Slot | undefined): string {
    const isIn = owner === this.#current
    const settings = isIn ? slot?.session.settings : this.#aside.get(owner)?.settings
    const own = settings?.get(APPLICATION_NAME) ?? this.#defaults.of(owner)?.get(APPLICATION_NAME)
    return own ?? ''
  }

  /** What an owner has asked last, as far as Postgres keeps it. @param slot the backend */
  queryOf(owner: Owner, slot: Slot | undefined): Uint8Array {
    const here = owner === this.#current ? slot?.session.query : undefined
    return here ?? this.#asked.get(owner) ?? NOTHING
  }

  /** In which encoding an owner talks. @param slot the backend */
  encodingOf(owner: Owner, slot: Pick<Slot, 'session'>): string {
    // By a number that no client knows nobody says anything but the pool, and HTTP.
    if (owner.number <= 0) return UTF8
    if (owner === this.#current) return slot.session.clientEncoding
    return this.#aside.get(owner)?.encoding ?? UTF8
  }

  /** The same sessions in a fork of the backend, where they go on by themselves. */
  forked(): TenantSessions<Owner> {
    const copy = new TenantSessions<Owner>()
    copy.#current = this.#current
    copy.#defaults = this.#defaults.forked()
    copy.#asked = this.#asked
    for (const [owner, aside] of this.#aside) copy.#aside.set(owner, aside)
    copy.#owed = this.#owed.forked()
    for (const number of this.#numbers) copy.#numbers.add(number)
    for (const locker of this.#lockers) copy.#lockers.add(locker)
    return copy
  }

  /**
   * Takes in how the session of an owner, who has not got the backend, has changed in a fork.
   * False: there is too much to be said again, and nothing was taken in.
   */
  takeBack(owner: Owner, forked: ForkedSession): boolean {
    const { slot, before, said, forgotten, unheard } = forked
    assert(owner !== this.#current, 'a fork is for those who have not got the backend')
    const known = this.#aside.get(owner) ?? NEW
    const { clientEncoding: encoding, settings, userIds, query } = slot.session
    if (!this.#owed.add(owner, said, forgotten, known.encoding !== encoding)) return false
    this.#asked.set(owner, query)
    this.channels.unlisten(owner, unheard)
    // Of the others the fork knows only what they held when it was made: it gives none.
    const { locks } = known.frame.locks.length > 0 ? slot.session.frame : known.frame
    if (locks.length === 0) this.#lockers.delete(owner)
    const isUnlocked = locks !== known.frame.locks
    if (said.size === 0 && !isUnlocked && isSame(before, settings)) return true
    const frame = { ...known.frame, locks }
    this.#aside.set(owner, { ...known, frame, settings, userIds, encoding })
    return true
  }

  /**
   * An owner has prepared or closed something, in words that are the same in all encodings, and has
   * not got the backend. False: that would have to be said in it, and nothing was taken in.
   */
  say(owner: Owner, said: SaidStatements): boolean {
    return owner !== this.#current && this.#owed.add(owner, said)
  }

  /** An owner will not come back. */
  leave(owner: Owner): void {
    this.#owed.forget(owner)
    this.#carried.delete(owner)
    this.#refused.delete(owner)
    this.channels.forget(owner)
    if (owner === this.#current || this.#aside.has(owner)) this.#departed.add(owner)
  }

  /**
   * Forgets the sessions of those who have left, and the one that the backend is in if that is
   * nobody's whom we know. While somebody is pinned it does nothing: the next time will do. Throws
   * what the slot throws.
   */
  discard(slot: Slot): void {
    const pinned = this.pinned(slot)
    if (pinned && !this.#departed.has(pinned)) return
    const isStranger = this.#current === undefined
    if (this.#current && !this.#departed.has(this.#current)) this.#putAside(slot)
    else if (isStranger || this.#current) this.#end(slot)
    for (const owner of this.#departed) {
      const aside = this.#aside.get(owner)
      if (!aside) continue
      slot.session.frame = aside.frame
      this.#aside.delete(owner)
      this.#lockers.delete(owner)
      this.#end(slot)
    }
    this.#departed.clear()
    this.#defaults.apply(undefined, slot)
    slot.session.frame = this.#numbered(this.#spare.pop() ?? EMPTY_FRAME)
    this.channels.listenAgain(slot)
  }

  /**
   * Reads all sessions out, before a backend ends that leaves no image. False: one of them has what
   * ends with the backend. Throws what the slot throws.
   */
  carry(slot: Slot): boolean {
    if (this.pinned(slot)) return false
    const owners = [...this.#aside.keys(), this.#current].filter((each) => each !== undefined)
    const carried = new Map<Owner, CarriedSession>()
    for (const owner of owners) {
      if (this.#departed.has(owner)) continue
      // It is told when it next asks, and nobody else has to wait for that.
      if (this.enter(owner, slot) !== undefined) continue
      const session = captureSession(slot)
      if (session.pinnedBy.length > 0) return false
      carried.set(owner, session)
    }
    if (this.#current) this.#asked.set(this.#current, slot.session.query)
    this.#carried = carried
    return true
  }

  /** Says what was carried to a backend that has just started. Throws what the slot throws. */
  bringBack(slot: Slot): void {
    for (const [owner, session] of this.#carried) {
      this.enter(owner, slot)
      const refusal = restoreSession(slot, session)
      if (refusal !== undefined) this.#refused.set(owner, refusal)
    }
    this.#carried.clear()
    this.channels.listenAgain(slot)
  }

  /** The backend has gone, and all sessions with it that were not carried. */
  clear(): void {
    this.#current = undefined
    this.#aside.clear()
    this.#lockers.clear()
    this.#departed.clear()
    this.#owed.clear()
    this.#spare.length = 0
    this.#numbers.clear()
    this.channels.clear()
    this.#defaults.clear()
  }

  /**
   * Nothing of them will come back, and whose they were must not go on as if they were new, but for
   * the one who is told anyway. @returns the others
   */
  lose(told: Owner | undefined): Owner[] {
    return this.#keepOnly(new Map(), told)
  }

  /**
   * The backend's memory was given to others, and nobody could be asked about it any more. Sessions
   * that are known to be nothing but settings and a role go on in the next backend.
   * @param remains of the session that the backend was in; undefined: there may be anything in it
   * @returns those that had more, as {@link lose}
   */
  taken(told: Owner | undefined, remains: SessionRemains | undefined): Owner[] {
    const kept = new Map(this.#carried)
    for (const [owner, { frame, preparedCount, settings, userIds }] of this.#aside) {
      const isMore = preparedCount > 0 || frame.temporary.schema !== 0 || frame.locks.length > 0
      if (!isMore) kept.set(owner, carriedFrom(settings, userIds))
    }
    if (this.#current && remains && isOnlySettings(remains)) {
      kept.set(this.#current, carriedFrom(remains.settings, remains.userIds))
    }
    for (const owner of this.#owed.owners()) kept.delete(owner)
    if (told) kept.delete(told)
    return this.#keepOnly(kept, told)
  }

  #keepOnly(kept: Map<Owner, CarriedSession>, told: Owner | undefined): Owner[] {
    const owners = [...this.#aside.keys(), ...this.#carried.keys(), this.#current]
    const known = new Set(owners.filter((each) => each !== undefined))
    for (const owner of this.#departed) {
      known.delete(owner)
      kept.delete(owner)
    }
    const lost = [...known].filter((each) => !kept.has(each))
    const others = lost.filter((each) => each !== told)
    for (const owner of others) this.#refused.set(owner, 'it ended with its backend')
    this.clear()
    this.#carried = kept
    this.channels.lose(kept)
    return others
  }

  #begin(owner: Owner, slot: Slot): void {
    const told = this.#defaults.begin(owner, slot)
    if (!told) return
    const encoding = this.encodingOf(owner, slot)
    const convert = (text: Uint8Array): Uint8Array | undefined =>
      slot.session.convert(text, UTF8, encoding)
    owner.told?.(recodeMessages(told, { type: 'S', textsAt: 0, convert }))
  }

  /** @returns the settings that the backend is left with */
  #putAside(slot: Slot): ReadonlyMap<string, string> {
    const { frame, preparedCount, settings, userIds, clientEncoding: encoding } = slot.session
    if (this.#current) {
      this.#aside.set(this.#current, { frame, preparedCount, settings, userIds, encoding })
      this.#asked.set(this.#current, slot.session.query)
      if (frame.locks.length > 0) this.#lockers.add(this.#current)
      if (frame.temporary.schema !== 0) this.#numbers.add(frame.temporary.number)
    } else this.#spareFor(frame)
    this.#current = undefined
    return settings
  }

  /** Whoever wants a lock is kept from those that are held aside: mostly there are none. */
  #tellLocks(slot: Slot): void {
    slot.session.isTaken = this.#lockers.size > 0 ? this.#isTaken : undefined
  }

  /** Where no schema is yet, another one is made by a number that nobody has. */
  #numbered(frame: SessionFrame): SessionFrame {
    if (frame.temporary.schema !== 0 || this.#numbers.size === 0) return frame
    let number = 0
    while (this.#numbers.has(number)) number++
    return { ...frame, temporary: { ...frame.temporary, number } }
  }

  /**
   * For the next: an empty table of statements. Its schema everybody may have dropped, so whoever
   * gets its number asks for it by its name, as a new backend does.
   */
  #spareFor({ preparedStatements }: SessionFrame): void {
    if (preparedStatements !== 0) this.#spare.push({ ...EMPTY_FRAME, preparedStatements })
  }

  #end(slot: Slot): void {
    // DISCARD ALL would be refused elsewhere; to close a statement would not.
    assert(slot.transactionStatus === 'idle', 'a session ends between transactions')
    const isBlank = hasOnlyAsked(slot.session)
    let { refusal } = readAnswer(slot.run(isBlank ? CLOSE_UNNAMED : DISCARD_ALL))
    const { frame } = slot.session
    const { schema, number } = frame.temporary
    // Where it has no schema, somebody else may have got the number meanwhile.
    if (schema !== 0 && refusal === undefined) this.#numbers.delete(number)
    if (schema !== 0 && refusal !== undefined) {
      // It may have more tables than can be dropped at once (`orphaned-tables.ts`).
      this.#numbers.add(number)
      slot.session.frame = { ...frame, temporary: NO_TEMPORARY }
      refusal = readAnswer(slot.run(DISCARD_ALL)).refusal
    }
    assert(refusal === undefined, `DISCARD ALL was refused: ${refusal}`)
    this.#current = undefined
    this.#spareFor(slot.session.frame)
  }
}

/**
 * What to say so that settings become others, each message with its own end. Whoever has given up
 * the right to do so gets it back for the time being; whom a session acts as is said last.
 */
function changes(
  from: ReadonlyMap<string, string>,
  to: ReadonlyMap<string, string>,
): readonly Uint8Array[] {
  const gone = [...from.keys()].filter((name) => !to.has(name) && !IDENTITY.has(name))
  const changed = [...to].filter(([name, value]) => from.get(name) !== value && !IDENTITY.has(name))
  const sameIdentity = [...IDENTITY].every((name) => from.get(name) === to.get(name))
  if (gone.length + changed.length === 0 && sameIdentity) return []
  return [
    ...asNobody(from),
    ...gone.map((name) => ownQuery(`RESET ${name.split('.').map(quoteIdentifier).join('.')}`)),
    ...settingMessages(changed),
    ...identityMessages(to),
  ]
}

/** What to say to act as whom the backend began as. */
function asNobody(settings: ReadonlyMap<string, string>): readonly Uint8Array[] {
  return [
    ...(settings.has('role') ? [ownQuery('RESET ROLE')] : []),
    ...(settings.has('session_authorization') ? [ownQuery('RESET SESSION AUTHORIZATION')] : []),
  ]
}
