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
 *
 * Whoever gives up does so a moment later, never within the call that made it too much: that may
 * come out of the middle of an answer, and ending one session calls the pool, which may write over
 * the bytes that are just being sent for another one.
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
  /** Those that made it too much, where it is they that give up. */
  readonly #late = new Set<Holder>()
  #bytes = 0
  #givenUpCount = 0
  #isToBeReviewed = false

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
   * From now on `holder` holds so many. If it is too much, somebody gives up as soon as the caller
   * has returned; that may be `holder`.
   * @param group whose it is, the same one each time: what a group holds counts as one. Default:
   *   the holder's own
   */
  set(holder: Holder, bytes: number, group: unknown = holder): void {
    const before = this.#entries.get(holder)?.bytes ?? 0
    this.#remove(holder)
    this.#entries.set(holder, { group, bytes })
    this.#add(group, bytes)
    // Who lets go of a part of it has made nothing too much.
    if (bytes <= before || !this.#isTooMuch(group)) return
    if (this.#isFirstServed) this.#late.add(holder)
    if (this.#isToBeReviewed) return
    this.#isToBeReviewed = true
    queueMicrotask(() => this.#review())
  }

  /** It holds nothing any more. */
  delete(holder: Holder): void {
    this.#late.delete(holder)
    this.#remove(holder)
  }

  #remove(holder: Holder): void {
    const entry = this.#entries.get(holder)
    if (!entry) return
    this.#entries.delete(holder)
    this.#add(entry.group, -entry.bytes)
  }

  /** What has become too much may have been let go since. */
  #review(): void {
    this.#isToBeReviewed = false
    if (!this.#isFirstServed) {
      while (this.#bytes > this.bytesMax) this.#giveUpMost()
      return
    }
    const late = [...this.#late]
    this.#late.clear()
    for (const holder of late) {
      if (this.#isTooMuch(this.#entries.get(holder)?.group)) this.#giveUp(holder)
    }
  }

  #isTooMuch(group: unknown): boolean {
    if (this.#bytes > this.bytesMax) return true
    return this.#isFirstServed && this.#bytesOf(group) > shareOfOne(this.bytesMax)
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
