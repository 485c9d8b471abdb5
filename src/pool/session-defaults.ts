/**
 * What RESET goes back to in the sessions of one tenant's clients: the settings that each gave when
 * it connected, and those that ALTER DATABASE and ALTER ROLE had set by then. The backend has those
 * of whoever has it; a nap has nobody's, so that an image can be taken over.
 */
import { concatBytes } from '../base/bytes.ts'
import type { Slot } from '../engine/engine.ts'
import { STORED_SETTINGS_SQL } from '../engine/stored-settings.ts'
import { SYNC } from '../base/protocol-message.ts'
import { ownQuery, readAnswer } from './backend-query.ts'
import { eachMessage } from '../base/message-frames.ts'
import { IDENTITY } from './session-carry.ts'

type Settings = ReadonlyMap<string, string>

/** What most have. */
const NONE: Settings = new Map()
const PARAMETER_STATUS = 0x53

export class SessionDefaults<Owner extends object> {
  #ofOwners = new WeakMap<Owner, Settings>()
  /** Those whose stored settings have been read. */
  #begun = new WeakSet<Owner>()
  /** Those that the backend has now. */
  #inForce: Settings = NONE
  /** What the backend itself has where an owner has something else. */
  #own = new Map<string, string>()
  /** Stored ones, as they were last read; one object for all sessions that have the same. */
  #stored: Settings = NONE
  /** What whoever has those is told, if that is known. */
  #reports: Uint8Array | undefined

  /** Whether some owner's are in force. */
  get areSomebodys(): boolean {
    return this.#inForce !== NONE
  }

  /** Those of an owner; undefined: it has none. */
  of(owner: Owner): Settings | undefined {
    return this.#ofOwners.get(owner)
  }

  /**
   * The session of an owner begins, unless it has before: it has what is stored for it. If that
   * cannot be read, under what somebody else has set, it has not begun and is to be asked for
   * again. Throws what the slot throws. @returns what its client is to be told of that
   */
  begin(owner: Owner, slot: Slot): Uint8Array | undefined {
    if (this.#begun.has(owner)) return undefined
    const stored = slot.session.mayHaveStoredSettings ? this.#read(slot) : NONE
    if (stored === undefined) return undefined
    this.#begun.add(owner)
    if (stored === NONE) return undefined
    const given = this.#ofOwners.get(owner)
    this.#ofOwners.set(owner, given ? new Map([...stored, ...given]) : stored)
    // All that is not as the backend itself has it, whatever is in force now.
    if (given || !this.#reports) this.apply(undefined, slot)
    const reports = this.apply(owner, slot)
    return given ? reports : (this.#reports ??= reports)
  }

  /** What the session has set so far is what it came with. @returns whether that is anything */
  keep(owner: Owner, slot: Slot): boolean {
    const given = [...slot.session.settings].filter(([name]) => !IDENTITY.has(name))
    if (given.length === 0) return false
    this.#ofOwners.set(owner, new Map([...(this.#ofOwners.get(owner) ?? []), ...given]))
    return true
  }

  /**
   * Puts those of `owner` in force; undefined: the backend's own. Throws what the slot throws.
   * @returns what has been reported of settings that have changed, if it was to be told to anybody
   */
  apply(owner: Owner | undefined, slot: Slot): Uint8Array | undefined {
    const to = (owner && this.#ofOwners.get(owner)) ?? NONE
    const from = this.#inForce
    if (from === to) return undefined
    const changed = new Map<string, string>()
    for (const name of new Set([...from.keys(), ...to.keys()])) {
      const own = this.#ownOf(name, slot)
      // What the backend does not show is left alone: nothing would bring it back.
      if (own === undefined) continue
      const value = to.get(name) ?? own
      if (value !== (from.get(name) ?? own)) changed.set(name, value)
    }
    this.#inForce = to
    if (changed.size === 0) return undefined
    slot.session.setDefaults(changed)
    // The next answer is to have nothing of it: it may be somebody else's.
    return reportsIn(slot.run(SYNC))
  }

  /** The same in a fork of the backend. */
  forked(): SessionDefaults<Owner> {
    const copy = new SessionDefaults<Owner>()
    copy.#ofOwners = this.#ofOwners
    copy.#begun = this.#begun
    copy.#inForce = this.#inForce
    copy.#own = new Map(this.#own)
    copy.#stored = this.#stored
    copy.#reports = this.#reports
    return copy
  }

  /** The backend has gone. */
  clear(): void {
    this.#inForce = this.#stored = NONE
    this.#reports = undefined
    this.#own.clear()
  }

  /** Undefined: refused. */
  #read(slot: Slot): Settings | undefined {
    const { rows, refusal } = readAnswer(slot.run(ownQuery(STORED_SETTINGS_SQL)))
    if (refusal !== undefined) return undefined
    const found = new Map(rows.map(([name, value]) => [name ?? '', value ?? '']))
    for (const name of IDENTITY) found.delete(name)
    if (found.size === 0) return NONE
    if (!isSame(found, this.#stored)) {
      this.#stored = found
      this.#reports = undefined
    }
    return this.#stored
  }

  /** What the backend itself has; of what is not known yet it has never been given another. */
  #ownOf(name: string, { session }: Slot): string | undefined {
    const known = this.#own.get(name)
    if (known !== undefined) return known
    // A setting that somebody has made up has no value of its own, and is not listed.
    const own = session.defaultOf(name) ?? (name.includes('.') ? '' : undefined)
    if (own !== undefined) this.#own.set(name, own)
    return own
  }
}

/** Whether settings are the same. */
export function isSame(one: Settings, other: Settings): boolean {
  return one.size === other.size && [...one].every(([name, value]) => other.get(name) === value)
}

function reportsIn(answer: Uint8Array): Uint8Array {
  const reports: Uint8Array[] = []
  eachMessage(answer, (type, at, end) => {
    if (type === PARAMETER_STATUS) reports.push(answer.subarray(at, end))
  })
  return concatBytes(reports)
}
