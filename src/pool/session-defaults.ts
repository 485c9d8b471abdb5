/**
 * What RESET goes back to in the sessions of one tenant's clients: the settings that each gave when
 * it connected. The backend has those of whoever has it; a nap has nobody's, so that an image can
 * be taken over.
 */
import type { Slot } from '../engine/engine.ts'
import { ownQuery, readAnswer, SYNC } from './backend-query.ts'
import { IDENTITY } from './session-carry.ts'

type Settings = ReadonlyMap<string, string>

const OWN_VALUES_SQL = `SELECT name, reset_val FROM pg_catalog.pg_settings
  WHERE name::pg_catalog.text OPERATOR(pg_catalog.=) ANY`

/** What most have. */
const NONE: Settings = new Map()

export class SessionDefaults<Owner extends object> {
  #ofOwners = new WeakMap<Owner, Settings>()
  /** Those that the backend has now. */
  #inForce: Settings = NONE
  /** What the backend itself has where an owner has something else. */
  #own = new Map<string, string>()

  /** Whether some owner's are in force. */
  get areSomebodys(): boolean {
    return this.#inForce !== NONE
  }

  /** What the session has set so far is what it came with. Throws what the slot throws. */
  keep(owner: Owner, slot: Slot): void {
    const given = [...slot.session.settings].filter(([name]) => !IDENTITY.has(name))
    if (given.length === 0) return
    this.#ofOwners.set(owner, new Map(given))
    this.apply(owner, slot)
  }

  /** Puts those of `owner` in force; undefined: the backend's own. Throws what the slot throws. */
  apply(owner: Owner | undefined, slot: Slot): void {
    const to = (owner && this.#ofOwners.get(owner)) ?? NONE
    const from = this.#inForce
    if (from === to) return
    this.#learn(slot, to)
    const changed = new Map<string, string>()
    for (const name of new Set([...from.keys(), ...to.keys()])) {
      const own = this.#own.get(name)
      // What the backend could not be asked for is left alone: nothing would bring it back.
      if (own === undefined) continue
      const value = to.get(name) ?? own
      if (value !== (from.get(name) ?? own)) changed.set(name, value)
    }
    this.#inForce = to
    if (changed.size === 0) return
    slot.session.setDefaults(changed)
    // Whatever there is to be told of that is nobody's: the next answer has nothing of it.
    slot.run(SYNC)
  }

  /** The same in a fork of the backend. */
  forked(): SessionDefaults<Owner> {
    const copy = new SessionDefaults<Owner>()
    copy.#ofOwners = this.#ofOwners
    copy.#inForce = this.#inForce
    copy.#own = new Map(this.#own)
    return copy
  }

  /** The backend has gone. */
  clear(): void {
    this.#inForce = NONE
    this.#own.clear()
  }

  /**
   * Asks what the backend itself has; what is not known yet has never been changed in it. A role
   * that is no superuser, of whoever had the backend before, does not see everything.
   */
  #learn(slot: Slot, to: Settings): void {
    const unknown = [...to.keys()].filter((name) => !this.#own.has(name))
    if (unknown.length === 0) return
    const names = unknown.map((name) => `'${name.replaceAll("'", "''")}'`)
    const { rows } = readAnswer(
      slot.run(ownQuery(`${OWN_VALUES_SQL} (ARRAY[${names.join(', ')}])`)),
    )
    for (const [name, value] of rows) this.#own.set(name ?? '', value ?? '')
    // A setting that somebody has made up has no value of its own, and is not listed.
    for (const name of unknown)
      if (name.includes('.') && !this.#own.has(name)) this.#own.set(name, '')
  }
}
