/**
 * Which client of a tenant listens to which channels. The backend knows one list for all of them:
 * it listens to whatever any client wants, and what it is notified of is handed out here. So a
 * client hears what another one says, also while it is idle, and does not hear what only others
 * asked for.
 *
 * Postgres tells notifications at the end of the batch that made or found them, after its commit;
 * they leave when that batch's answer may leave.
 */
import { concatBytes, fromUtf8 } from '../base/bytes.ts'
import { quoteIdentifier } from '../base/sql-name.ts'
import type { Slot } from '../engine/engine.ts'
import { ownQuery } from './backend-query.ts'

const NOTIFICATION_RESPONSE = 0x41
/** Type, length, process id. */
const CHANNEL_AT = 9
/** LISTEN and its name; UNLISTEN has no word boundary there. */
const LISTEN = /\blisten\s+("(?:[^"]|"")+"|[\p{L}_][\p{L}\d_$]*)/giu

export class TenantChannels<Owner extends object> {
  readonly #channels = new Map<Owner, Set<string>>()
  /** What was said to be listened to in transactions that go on. */
  readonly #said = new Map<Owner, Set<string>>()
  /** Wanted by those who have gone, and the backend may still listen: nobody has asked for them. */
  #orphans: ReadonlySet<string> = new Set()

  /** Whether anybody listens, or the backend does. */
  concern(slot: Slot): boolean {
    return this.#channels.size > 0 || slot.session.channels.length > 0
  }

  /** Takes in what a batch says inside of a transaction; {@link note} comes when that has ended. */
  hear(owner: Owner, messages: Uint8Array): void {
    this.#said.set(owner, namesIn(messages).union(this.#said.get(owner) ?? new Set()))
  }

  /**
   * Takes in what a batch of `owner` has changed; what others lost by it is listened to again,
   * which overwrites the slot's last answer. Throws what the slot throws.
   */
  note(owner: Owner, slot: Slot, messages: Uint8Array): void {
    const now = new Set(slot.session.channels)
    const before = this.#all().union(this.#orphans)
    const own = this.#channels.get(owner) ?? new Set()
    const said = namesIn(messages).union(this.#said.get(owner) ?? new Set())
    this.#said.delete(owner)
    for (const channel of now) {
      if (!before.has(channel) || said.has(channel)) own.add(channel)
    }
    for (const channel of before) if (!now.has(channel)) own.delete(channel)
    if (own.size > 0) this.#channels.set(owner, own)
    else this.#channels.delete(owner)
    this.listenAgain(slot)
  }

  /** Whether {@link note} has to speak to the backend. */
  isBehind(owner: Owner, slot: Slot): boolean {
    const now = new Set(slot.session.channels)
    for (const [other, channels] of this.#channels) {
      if (other !== owner && !channels.isSubsetOf(now)) return true
    }
    return false
  }

  /** Makes the backend listen to whatever somebody wants to hear. Throws what the slot throws. */
  listenAgain(slot: Slot): void {
    const now = new Set(slot.session.channels)
    this.#orphans = this.#orphans.intersection(now)
    for (const channel of this.#all()) {
      if (!now.has(channel)) slot.run(ownQuery(`LISTEN ${quoteIdentifier(channel)}`))
    }
  }

  /**
   * Hands the notifications in an answer out.
   * @returns the answer without those that `owner` has not asked for
   */
  handOut(
    owner: Owner,
    answer: Uint8Array,
    deliver: (to: Owner, notification: Uint8Array) => void,
  ): Uint8Array {
    const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
    const kept: Uint8Array[] = []
    let keptTo = 0
    for (let at = 0; at + 5 <= answer.length;) {
      const end = at + 1 + view.getInt32(at + 1)
      if (answer[at] === NOTIFICATION_RESPONSE) {
        const notification = answer.slice(at, end)
        const channel = textAt(notification, CHANNEL_AT)
        for (const [other, channels] of this.#channels) {
          if (other !== owner && channels.has(channel)) deliver(other, notification)
        }
        if (!this.#channels.get(owner)?.has(channel)) {
          kept.push(answer.subarray(keptTo, at))
          keptTo = end
        }
      }
      at = end
    }
    return keptTo === 0 ? answer : concatBytes([...kept, answer.subarray(keptTo)])
  }

  /** It hears nothing any more. */
  forget(owner: Owner): void {
    this.#orphans = this.#orphans.union(this.#channels.get(owner) ?? new Set())
    this.#channels.delete(owner)
    this.#said.delete(owner)
  }

  /** Those that hear something. */
  owners(): IterableIterator<Owner> {
    return this.#channels.keys()
  }

  #all(): Set<string> {
    return new Set(Array.from(this.#channels.values(), (channels) => [...channels]).flat())
  }
}

/** Channels that the statements of a batch name, quoted or folded to lower case. */
function namesIn(messages: Uint8Array): Set<string> {
  const names = Array.from(fromUtf8(messages.slice()).matchAll(LISTEN), ([, name = '']) =>
    name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase(),
  )
  return new Set(names)
}

function textAt(bytes: Uint8Array, at: number): string {
  return fromUtf8(bytes.slice(at, bytes.indexOf(0, at)))
}
