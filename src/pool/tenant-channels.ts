/**
 * Which client of a tenant listens to which channels. The backend knows one list for all of them:
 * it listens to whatever any client wants, and what it is notified of is handed out here. So a
 * client hears what another one says, also while it is idle, and does not hear what only others
 * asked for.
 *
 * Postgres tells notifications at the end of the batch that made or found them, after its commit;
 * they leave when that batch's answer may leave. What one client takes from the list with UNLISTEN
 * or DISCARD is put back for the others at once: a batch of several transactions is run in pieces
 * for that. Only what is notified in the very transaction of an UNLISTEN is lost.
 */
import { assert } from '../base/assert.ts'
import { concatBytes, fromUtf8, textAt } from '../base/bytes.ts'
import { messageOfFields } from '../base/error-message.ts'
import { quoteIdentifier } from '../base/sql-name.ts'
import type { OtherDatabases } from '../engine/database-sight.ts'
import { UTF8 } from '../engine/client-encoding.ts'
import type { Slot } from '../engine/engine.ts'
import { recodeMessages } from '../base/recode-messages.ts'
import { ownQuery, readAnswer } from './backend-query.ts'
import { ListenWatch } from './listen-watch.ts'
import { runPausing, whenAnswered } from './pausing-run.ts'
import { eachMessage, piecesOf } from '../base/message-frames.ts'

const NOTIFICATION_RESPONSE = 0x41
const NOTHING = new Uint8Array(0)
/** Type, length, process id. */
const CHANNEL_AT = 9
const HEAD_BYTES = 5
/** ReadyForQuery outside of a transaction. */
const IDLE = [0x5a, 0, 0, 0, 5, 0x49]

/** A client. */
export interface SessionOwner {
  /** By which its batches can be cancelled. */
  readonly number: number
  /** What it sees in `pg_database` beside its own. */
  readonly otherDatabases?: OtherDatabases | undefined
  /** Whether its next batch is to be able to pause. Default: it is. */
  readonly mayPause?: boolean
  /** Asked at each pause of a batch: see `Slot.runPausing`. */
  readonly pause?: (() => Promise<void>) | undefined
  /** Whether its next batch gives it its settings. Default: it does not. */
  readonly begins?: boolean
  /** Tells its client what it has not asked for: whole messages, a view. */
  told?(messages: Uint8Array): void
}

/** A batch with one end at most, and its answer. */
interface RanPiece {
  readonly messages: Uint8Array
  readonly answer: Uint8Array
}

export class TenantChannels<Owner extends SessionOwner> {
  readonly #channels = new Map<Owner, Set<string>>()
  readonly #watches = new WeakMap<Owner, ListenWatch>()
  /** The backend's list when it was last looked at: whatever changes is the doing of who runs. */
  #listed: ReadonlySet<string> = new Set()
  readonly #encodingOf: (owner: Owner, slot: Slot) => string
  /** In one piece for each, later: a statement may notify a million times, and a thousand hear. */
  readonly #outbox = new Map<Owner, Uint8Array[]>()

  /** @param encodingOf in which encoding an owner talks. Default: all in UTF-8 */
  constructor(encodingOf: (owner: Owner, slot: Slot) => string = () => UTF8) {
    this.#encodingOf = encodingOf
  }

  /**
   * Runs a batch of `owner`, whose session the backend is in. Throws what the slot throws.
   * @returns its answer without the notifications that it has not asked for, a view as that of
   *   `slot.run`, or later, if it pauses; those for others wait for {@link deliver}
   */
  run(owner: Owner, slot: Slot, messages: Uint8Array): Uint8Array | Promise<Uint8Array> {
    // Right before the end of a piece notifications are UTF-8 for everybody.
    if (this.#isOnlyOne(owner) && this.#encodingOf(owner, slot) === UTF8) {
      const alone = (answer: Uint8Array): Uint8Array => {
        const { channels } = slot.session
        if (channels.length + this.#listed.size > 0) this.#note(owner, new Set(channels))
        this.#watches.delete(owner)
        return this.#encodingOf(owner, slot) === UTF8 ? answer : this.#sort(owner, slot, answer)
      }
      return whenAnswered(runPausing(owner, slot, messages), alone)
    }
    return this.#runPieces(owner, slot, piecesOf(messages))
  }

  /** One after the other, each of which may pause. */
  #runPieces(
    owner: Owner,
    slot: Slot,
    [messages = NOTHING, ...rest]: readonly Uint8Array[],
  ): Uint8Array | Promise<Uint8Array> {
    const ran = (answer: Uint8Array): Uint8Array | Promise<Uint8Array> => {
      const own = this.#ranPiece(owner, slot, { messages, answer })
      if (rest.length === 0) return own
      const kept = new Uint8Array(own)
      const others = this.#runPieces(owner, slot, rest)
      return whenAnswered(others, (next) => concatBytes([kept, next]))
    }
    return whenAnswered(runPausing(owner, slot, messages), ran)
  }

  /**
   * Hands out what others are to hear of the batches that have run, when they are durable.
   * @param send told once of each: all its notifications in their order
   */
  deliver(send: (to: Owner, notifications: Uint8Array) => void): void {
    for (const [to, [only, ...others]] of this.#outbox) {
      this.#outbox.delete(to)
      if (only) send(to, others.length === 0 ? only : concatBytes([only, ...others]))
    }
  }

  /** Makes the backend listen to whatever somebody wants to hear. Throws what the slot throws. */
  listenAgain(slot: Slot): void {
    const now = new Set(slot.session.channels)
    for (const channel of this.#wanted()) {
      if (now.has(channel)) continue
      listen(slot, channel)
    }
    this.#listed = new Set(slot.session.channels)
  }

  /** What nobody wants to hear any more. Throws what the slot throws. */
  #unlisten(slot: Slot, channels: ReadonlySet<string>): void {
    for (const channel of channels) slot.run(ownQuery(`UNLISTEN ${quoteIdentifier(channel)}`))
  }

  /** It does not hear these any more; the backend does until somebody next runs something there. */
  unlisten(owner: Owner, gone: ReadonlySet<string>): void {
    const own = this.#channels.get(owner)
    if (own) this.#set(owner, own.difference(gone))
  }

  /** It hears nothing any more. */
  forget(owner: Owner): void {
    this.#channels.delete(owner)
    this.#watches.delete(owner)
    this.#outbox.delete(owner)
  }

  /** The backend has gone, and its list. */
  clear(): void {
    this.#listed = new Set()
  }

  /** The same, and but for those whose sessions go on nobody hears anything any more. */
  lose(kept: ReadonlyMap<Owner, unknown>): void {
    this.clear()
    for (const owner of this.#channels.keys()) if (!kept.has(owner)) this.forget(owner)
  }

  /** What has one end at most has run, where the backend listens for others as well. */
  #ranPiece(owner: Owner, slot: Slot, { messages, answer }: RanPiece): Uint8Array {
    const now = new Set(slot.session.channels)
    const hides = this.#hides(owner)
    this.#note(owner, now)
    if (hides) this.#watch(owner, slot, { messages, answer })
    else this.#watches.delete(owner)
    const own = this.#sort(owner, slot, answer)
    if (!endsIdle(answer)) return own
    const wanted = this.#wanted()
    const unwanted = now.difference(wanted)
    if (unwanted.size === 0 && wanted.isSubsetOf(now)) return own
    const kept = new Uint8Array(own)
    this.#unlisten(slot, unwanted)
    this.listenAgain(slot)
    return kept
  }

  /** Takes in how the backend's list has changed. */
  #note(owner: Owner, now: ReadonlySet<string>): void {
    const own = this.#channels.get(owner) ?? new Set()
    for (const channel of now) if (!this.#listed.has(channel)) own.add(channel)
    for (const channel of this.#listed) if (!now.has(channel)) own.delete(channel)
    this.#set(owner, own)
    this.#listed = now
  }

  /** Takes in what it listens to that was in the list already for others. */
  #watch(owner: Owner, slot: Slot, { messages, answer }: RanPiece): void {
    const now = this.#listed
    const encoding = this.#encodingOf(owner, slot)
    const textOf = (bytes: Uint8Array): string =>
      fromUtf8(slot.session.convert(bytes, encoding, UTF8) ?? bytes)
    let watch = this.#watches.get(owner)
    if (!watch) this.#watches.set(owner, (watch = new ListenWatch()))
    const own = new Set(this.#channels.get(owner))
    const heard = watch.take(messages, answer, encoding === UTF8 ? fromUtf8 : textOf)
    for (const channel of heard) {
      // Rather too much than not what it waits for.
      if (channel === undefined) for (const each of now) own.add(each)
      else if (now.has(channel)) own.add(channel)
    }
    this.#set(owner, own)
  }

  #set(owner: Owner, channels: Set<string>): void {
    if (channels.size > 0) this.#channels.set(owner, channels)
    else this.#channels.delete(owner)
  }

  /**
   * Puts the notifications for others aside.
   * @returns the answer without those that `owner` has not asked for
   */
  #sort(owner: Owner, slot: Slot, answer: Uint8Array): Uint8Array {
    const kept: Uint8Array[] = []
    let keptTo = 0
    eachMessage(answer, (type, at, end) => {
      if (type !== NOTIFICATION_RESPONSE) return
      const notification = answer.slice(at, end)
      const channel = textAt(notification, CHANNEL_AT)
      for (const [to, channels] of this.#channels) {
        if (to === owner || !channels.has(channel)) continue
        const told = this.#outbox.get(to) ?? []
        if (told.push(this.#inWordsOf(to, slot, notification)) === 1) this.#outbox.set(to, told)
      }
      const isOwn = this.#channels.get(owner)?.has(channel) === true
      const told = isOwn ? this.#inWordsOf(owner, slot, notification) : NOTHING
      if (told === notification) return
      kept.push(answer.subarray(keptTo, at), told)
      keptTo = end
    })
    return keptTo === 0 ? answer : concatBytes([...kept, answer.subarray(keptTo)])
  }

  /** A notification in the encoding of who hears it, or what it hears instead. */
  #inWordsOf(to: Owner, slot: Slot, notification: Uint8Array): Uint8Array {
    const encoding = this.#encodingOf(to, slot)
    if (encoding === UTF8) return notification
    let isWhole = true
    const convert = (text: Uint8Array): Uint8Array | undefined => {
      const converted = slot.session.convert(text, UTF8, encoding)
      isWhole &&= converted !== undefined
      return converted
    }
    const textsAt = CHANNEL_AT - HEAD_BYTES
    const told = recodeMessages(notification, { type: 'A', textsAt, convert })
    return isWhole ? told : untranslatable(encoding)
  }

  /** Whether nobody else is concerned by what is listened to. */
  #isOnlyOne(owner: Owner): boolean {
    const others = this.#channels.size - (this.#channels.has(owner) ? 1 : 0)
    return others === 0 && !this.#hides(owner)
  }

  /** Whether the backend's list has more than what `owner` listens to. */
  #hides(owner: Owner): boolean {
    if (this.#listed.size === 0) return false
    return !this.#listed.isSubsetOf(this.#channels.get(owner) ?? new Set())
  }

  #wanted(): Set<string> {
    return new Set(Array.from(this.#channels.values(), (channels) => [...channels]).flat())
  }
}

/** Throws what the slot throws. */
export function listen(slot: Slot, channel: string): void {
  const { refusal } = readAnswer(slot.run(ownQuery(`LISTEN ${quoteIdentifier(channel)}`)))
  assert(refusal === undefined, 'what was listened to can be listened to again')
}

/** What the backend of a listener would say. */
function untranslatable(encoding: string): Uint8Array {
  const text = `a notification has a character with no equivalent in encoding "${encoding}"`
  return messageOfFields('E', [
    ['S', 'ERROR'],
    ['V', 'ERROR'],
    ['C', '22P05'],
    ['M', text],
  ])
}

function endsIdle(answer: Uint8Array): boolean {
  const start = answer.length - IDLE.length
  return IDLE.every((byte, index) => answer[start + index] === byte)
}
