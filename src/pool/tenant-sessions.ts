/**
 * The sessions of one tenant's clients in the one backend that they share. A client that gets the
 * backend finds what it left: its prepared statements and sequence values are put in place by their
 * addresses (`session-memory.ts`), its settings and role are said again where they differ from
 * those of the client before it. Clients of one application mostly have the same settings, so that
 * a change of hands says nothing at all and costs a few microseconds.
 *
 * What cannot be put aside (temporary tables, advisory locks, cursors WITH HOLD) keeps the backend
 * with its client; that is `pinned`, and the business of `pool-state.ts`.
 *
 * It must never run a client's statement under the role or the settings of another. A session that
 * could not be brought back as it was is refused from then on, whoever has the backend in between.
 */
import { assert } from '../base/assert.ts'
import { quoteIdentifier } from '../base/sql-name.ts'
import type { Slot } from '../engine/engine.ts'
import { EMPTY_FRAME, type SessionFrame } from '../engine/session-memory.ts'
import { DISCARD_ALL, ownQuery, readAnswer } from './backend-query.ts'
import { TenantChannels } from './tenant-channels.ts'
import {
  captureSession,
  type CarriedSession,
  restoreSession,
  runAll,
  settingMessages,
  TEMPORARY_OBJECTS,
} from './session-carry.ts'

/** What of a session can be put aside, as it was when its client last had the backend. */
interface Aside {
  readonly frame: SessionFrame
  readonly settings: ReadonlyMap<string, string>
}

const NEW: Aside = { frame: EMPTY_FRAME, settings: new Map() }
/** Beyond: they are left behind. */
const SPARE_FRAMES_MAX = 16
const TEMPORARY_OBJECTS_SQL = `SELECT 1 FROM ${TEMPORARY_OBJECTS} LIMIT 1`

export class TenantSessions<Owner extends object> {
  /** Whose session the backend is in; undefined: nobody's, it is as after a start. */
  #current: Owner | undefined
  readonly #aside = new Map<Owner, Aside>()
  /** Owners that have left, and whose sessions are not forgotten yet. */
  readonly #departed = new Set<Owner>()
  /** Why the session of an owner is not whole. It can never be entered again. */
  readonly #refused = new Map<Owner, string>()
  /** Of sessions that have ended: their tables are empty, and serve the next. */
  readonly #spare: SessionFrame[] = []
  /** What was read out before the backend ended, to be said again to the next. */
  #carried = new Map<Owner, CarriedSession>()
  readonly channels: TenantChannels<Owner> = new TenantChannels()
  #hasTemporaryObjects = false
  #hasWritten = false

  /** Sessions that the backend holds. */
  get count(): number {
    return this.#aside.size + (this.#current ? 1 : 0)
  }

  /**
   * Puts the backend into the session of `owner`, a new one if it has none. Throws what the slot
   * throws. @returns why that is not possible: then nothing may run for this owner any more
   */
  enter(owner: Owner, slot: Slot): string | undefined {
    const refused = this.#refused.get(owner)
    if (refused !== undefined || this.#current === owner) return refused
    const to = this.#aside.get(owner) ?? { ...NEW, frame: this.#spare.pop() ?? EMPTY_FRAME }
    const from = this.#putAside(slot)
    this.#aside.delete(owner)
    this.#current = owner
    slot.session.frame = to.frame
    const refusal = runAll(slot, changes(from, to.settings))
    if (refusal !== undefined) this.#refused.set(owner, refusal)
    return refusal
  }

  /**
   * Whose session has what cannot be put aside, so that nobody else can have the backend. It may
   * have to be asked for: that overwrites the slot's last answer. Throws what the slot throws.
   */
  pinned(slot: Slot): Owner | undefined {
    if (!this.#current) return undefined
    if (this.mustAsk(slot)) this.#hasTemporaryObjects = hasTemporaryObjects(slot)
    this.#hasWritten = false
    return slot.session.holdsOn || this.#hasTemporaryObjects ? this.#current : undefined
  }

  /** Whether {@link pinned} has to ask: making and dropping temporary tables writes the catalog. */
  mustAsk(slot: Slot): boolean {
    return this.#hasWritten && slot.session.mayHaveTemporaryTables
  }

  /** The session that the backend is in has written something. */
  wrote(): void {
    this.#hasWritten = true
  }

  /** An owner will not come back. */
  leave(owner: Owner): void {
    this.#carried.delete(owner)
    this.#refused.delete(owner)
    this.channels.forget(owner)
    if (owner === this.#current || this.#aside.has(owner)) this.#departed.add(owner)
  }

  /**
   * Forgets the sessions of those who have left, and the one that the backend is in if that is
   * nobody's whom we know. Not while somebody is pinned. Throws what the slot throws.
   */
  discard(slot: Slot): void {
    const isStranger = this.#current === undefined
    if (this.#current && !this.#departed.has(this.#current)) this.#putAside(slot)
    else if (isStranger || this.#current) this.#end(slot)
    for (const owner of this.#departed) {
      const aside = this.#aside.get(owner)
      if (!aside) continue
      slot.session.frame = aside.frame
      this.#aside.delete(owner)
      this.#end(slot)
    }
    this.#departed.clear()
    slot.session.frame = EMPTY_FRAME
    this.channels.listenAgain(slot)
  }

  /**
   * Reads all sessions out, before a backend ends that leaves no image. False: one of them has what
   * ends with the backend. Throws what the slot throws.
   */
  carry(slot: Slot): boolean {
    const owners = [...this.#aside.keys(), this.#current].filter((each) => each !== undefined)
    const carried = new Map<Owner, CarriedSession>()
    for (const owner of owners) {
      if (this.#departed.has(owner)) continue
      const refusal = this.enter(owner, slot)
      const session = captureSession(slot)
      if (refusal !== undefined || session.pinnedBy.length > 0) return false
      carried.set(owner, session)
    }
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
    this.#departed.clear()
    this.#spare.length = 0
    this.channels.clear()
    this.#hasTemporaryObjects = false
  }

  /** Nothing of them will come back. */
  lose(): void {
    this.clear()
    this.#carried.clear()
    this.#refused.clear()
    this.channels.lose()
  }

  /** @returns the settings that the backend is left with */
  #putAside(slot: Slot): ReadonlyMap<string, string> {
    const { frame, settings } = slot.session
    if (this.#current) this.#aside.set(this.#current, { frame, settings })
    else this.#keepSpare(frame)
    this.#current = undefined
    return settings
  }

  #end(slot: Slot): void {
    const { refusal } = readAnswer(slot.run(DISCARD_ALL))
    assert(refusal === undefined, 'a session can be forgotten')
    this.#current = undefined
    this.#hasTemporaryObjects = false
    this.#keepSpare(slot.session.frame)
  }

  #keepSpare(frame: SessionFrame): void {
    if (frame.preparedStatements && this.#spare.length < SPARE_FRAMES_MAX) this.#spare.push(frame)
  }
}

function hasTemporaryObjects(slot: Slot): boolean {
  const { rows, refusal } = readAnswer(slot.run(ownQuery(TEMPORARY_OBJECTS_SQL)))
  // Whoever cannot be asked is not parted from what it may have.
  return rows.length > 0 || refusal !== undefined
}

const USER = 'session_authorization'
const ROLE = 'role'

/**
 * What to say so that settings become others, each message with its own end. Whoever has given up
 * the right to do so gets it back for the time being; whom a session acts as is said last.
 */
function changes(
  from: ReadonlyMap<string, string>,
  to: ReadonlyMap<string, string>,
): readonly Uint8Array[] {
  const isIdentity = (name: string): boolean => name === USER || name === ROLE
  const gone = [...from.keys()].filter((name) => !to.has(name) && !isIdentity(name))
  const changed = [...to].filter(([name, value]) => from.get(name) !== value && !isIdentity(name))
  const sameIdentity = [USER, ROLE].every((name) => from.get(name) === to.get(name))
  if (gone.length + changed.length === 0 && sameIdentity) return []
  const say = (sql: string): Uint8Array => ownQuery(sql)
  const [user, role] = [to.get(USER), to.get(ROLE)]
  return [
    ...(from.has(ROLE) ? [say('RESET ROLE')] : []),
    ...(from.has(USER) ? [say('RESET SESSION AUTHORIZATION')] : []),
    ...gone.map((name) => say(`RESET ${name.split('.').map(quoteIdentifier).join('.')}`)),
    ...settingMessages(changed),
    ...(user === undefined ? [] : [say(`SET SESSION AUTHORIZATION ${quoteIdentifier(user)}`)]),
    ...(role === undefined ? [] : [say(`SET ROLE ${quoteIdentifier(role)}`)]),
  ]
}
