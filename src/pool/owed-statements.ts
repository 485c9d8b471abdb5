/**
 * What clients of a tenant have prepared, closed and forgotten where their session in the backend
 * could not hear of it: in a fork, or nowhere at all. It is said again when their session is next
 * in a backend, in their own words; until then each fork is told of it as well.
 */
import { LIMITS } from '../base/limits.ts'
import type { Slot } from '../engine/engine.ts'
import { ownQuery } from './backend-query.ts'
import { type SaidStatements, sayAgain } from './reading-batch.ts'

/** What a session has forgotten as a whole. */
export interface ForgottenWhole {
  /** All that was prepared by name, before anything that is said again. */
  readonly allStatements: boolean
  /** What currval knows. */
  readonly sequences: boolean
}

interface Owed extends ForgottenWhole {
  readonly said: SaidStatements
}

const NOTHING: Owed = { said: new Map(), allStatements: false, sequences: false }
/** The same in all encodings of clients. */
export const ASCII: RegExp = /^[\0-\x7f]*$/
const DEALLOCATE_ALL = ownQuery('DEALLOCATE ALL')
const DISCARD_SEQUENCES = ownQuery('DISCARD SEQUENCES')

export class OwedStatements<Owner extends { readonly number: number }> {
  #owed = new Map<Owner, Owed>()

  /**
   * False: it would be too much, or could not be said again in the words in which it was said, and
   * nothing was taken in.
   * @param isRecoded its client talks in another encoding from now on. Default: it does not
   */
  add(
    owner: Owner,
    said: SaidStatements,
    { allStatements, sequences }: ForgottenWhole = NOTHING,
    isRecoded = false,
  ): boolean {
    const before = this.#owed.get(owner) ?? NOTHING
    const all = new Map([...(allStatements ? unnamedIn(before.said) : before.said), ...said])
    if (all.size > LIMITS.owedStatementsMax) return false
    if (isRecoded && [...all].some(([name, parse]) => parse || !ASCII.test(name))) return false
    if (said.size === 0 && !allStatements && !sequences) return true
    this.#owed.set(owner, {
      said: all,
      allStatements: allStatements || before.allStatements,
      sequences: sequences || before.sequences,
    })
    return true
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
    if (owed.allStatements) slot.run(DEALLOCATE_ALL)
    if (owed.sequences) slot.run(DISCARD_SEQUENCES)
    for (const each of sayAgain(owed.said)) slot.run(each, owner.number)
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
    copy.#owed = new Map(this.#owed)
    return copy
  }
}

/** DEALLOCATE ALL leaves the unnamed statement alone. */
function unnamedIn(said: SaidStatements): SaidStatements {
  const unnamed = said.get('')
  return said.has('') ? new Map([['', unnamed]]) : new Map()
}
