/**
 * An account of the memory that a thread holds for others: what they have sent and not ended, what
 * waits for its turn, what they have asked for and do not read. Each has its own limits, but a
 * thousand of them at their limits would be more than the machine has.
 *
 * When it is too much in all, something has to go: of the group that holds most, whoever holds
 * most. So those who hold little never notice, and who has many connections gains nothing by it.
 *
 * Where nobody can do anything for another (objects of one isolate on Workers), it is who comes
 * that gives up, also when its group holds so much that little would be left for others.
 */

/**
 * What one thing may be that is refused in good order where it is too large by itself, if all of
 * them may be so much: the rest is for what comes behind it, and for others.
 */
export function shareOfOne(bytesMax: number): number {
  return (bytesMax * 3) / 4
}

/** Somebody who holds bytes. */
export interface Holder {
  /** Lets them go; it is off the account already, and may say so again. */
  giveUp(): void
}

interface Entry {
  readonly group: unknown
  readonly bytes: number
}

export class HeldBytes {
  readonly bytesMax: number
  readonly #isFirstServed: boolean
  readonly #entries = new Map<Holder, Entry>()
  readonly #groups = new Map<unknown, number>()
  #bytes = 0
  #givenUpCount = 0

  /**
   * @param bytesMax of all holders together
   * @param gives who gives up. Default: whoever holds most
   */
  constructor(bytesMax: number, gives: 'most' | 'who comes' = 'most') {
    this.bytesMax = bytesMax
    this.#isFirstServed = gives === 'who comes'
  }

  /** What is held at the moment. */
  get bytes(): number {
    return this.#bytes
  }

  /** How often somebody had to give up. */
  get givenUpCount(): number {
    return this.#givenUpCount
  }

  /**
   * From now on `holder` holds so many. If it is too much, somebody gives up before this returns;
   * that may be `holder`.
   * @param group whose it is, the same one each time: what a group holds counts as one. Default:
   *   the holder's own
   */
  set(holder: Holder, bytes: number, group: unknown = holder): void {
    this.delete(holder)
    this.#entries.set(holder, { group, bytes })
    this.#add(group, bytes)
    if (this.#isFirstServed) {
      const isTooMuch =
        this.#bytes > this.bytesMax || this.#bytesOf(group) > shareOfOne(this.bytesMax)
      if (isTooMuch) this.#giveUp(holder)
      return
    }
    while (this.#bytes > this.bytesMax) this.#giveUpMost()
  }

  /** It holds nothing any more. */
  delete(holder: Holder): void {
    const entry = this.#entries.get(holder)
    if (!entry) return
    this.#entries.delete(holder)
    this.#add(entry.group, -entry.bytes)
  }

  #add(group: unknown, bytes: number): void {
    this.#bytes += bytes
    const sum = this.#bytesOf(group) + bytes
    if (sum === 0) this.#groups.delete(group)
    else this.#groups.set(group, sum)
  }

  #bytesOf(group: unknown): number {
    return this.#groups.get(group) ?? 0
  }

  #giveUpMost(): void {
    const [group] = mostOf(this.#groups, (bytes) => bytes)
    const members = [...this.#entries].filter(([, entry]) => entry.group === group)
    const [holder] = mostOf(members, (entry) => entry.bytes)
    this.#giveUp(holder)
  }

  #giveUp(holder: Holder): void {
    this.delete(holder)
    this.#givenUpCount++
    holder.giveUp()
  }
}

/** The first of those with the largest `size`. There is at least one. */
function mostOf<Key, Value>(
  entries: Iterable<readonly [Key, Value]>,
  size: (value: Value) => number,
): readonly [Key, Value] {
  return [...entries].reduce((most, each) => (size(each[1]) > size(most[1]) ? each : most))
}
