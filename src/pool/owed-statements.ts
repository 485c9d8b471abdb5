/**
 * What clients of a tenant have prepared and closed where their session in the backend could not
 * hear of it: in a fork, or nowhere at all. It is said again when their session is next in a
 * backend, in their own words; until then a fork is told of it as well.
 */
import { LIMITS } from '../base/limits.ts'
import type { Slot } from '../engine/engine.ts'
import { type SaidStatements, sayAgain } from './reading-batch.ts'

export class OwedStatements<Owner extends { readonly number: number }> {
  readonly #owed = new Map<Owner, SaidStatements>()

  /** False: it would be too much, and nothing was taken in. */
  add(owner: Owner, said: SaidStatements): boolean {
    if (said.size === 0) return true
    const owed = new Map([...(this.#owed.get(owner) ?? []), ...said])
    if (owed.size > LIMITS.owedStatementsMax) return false
    this.#owed.set(owner, owed)
    return true
  }

  /** Whether an owner has, or would have, something to be said again. */
  isOwed(owner: Owner): boolean {
    return this.#owed.has(owner)
  }

  /**
   * Says it in the session of `owner`, which the backend is in. What cannot be prepared any more is
   * missing: whoever uses it is told. Throws what the slot throws.
   */
  say(owner: Owner, slot: Slot): void {
    const owed = this.#owed.get(owner)
    if (!owed) return
    this.#owed.delete(owner)
    const asked = slot.session.query
    for (const each of sayAgain(owed)) slot.run(each, owner.number)
    slot.session.query = asked
  }

  owners(): Iterable<Owner> {
    return this.#owed.keys()
  }

  forget(owner: Owner): void {
    this.#owed.delete(owner)
  }

  clear(): void {
    this.#owed.clear()
  }

  /** The same for a fork. */
  forked(): OwedStatements<Owner> {
    const copy = new OwedStatements<Owner>()
    for (const [owner, owed] of this.#owed) copy.#owed.set(owner, new Map(owed))
    return copy
  }
}
