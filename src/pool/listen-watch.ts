/**
 * Which channels a client has said LISTEN to. Mostly the backend's list tells; but whoever listens
 * to what another client has in that list already leaves no trace in it.
 *
 * What was said stands in the messages, whether it was done in the answer: a LISTEN counts if its
 * command tag is there and its transaction was not rolled back, so words in comments and literals
 * mean nothing. If the two do not match, because the name is written in escapes or the statement
 * was prepared out of sight, it counts as a LISTEN to a channel that is not known.
 *
 * Out of reach is a LISTEN inside of a function that another client's LISTEN hides.
 */
import { fromUtf8, utf8 } from '../base/bytes.ts'
import { matchEnd, skipGap } from '../base/sql-gap.ts'
import { eachMessage } from '../base/message-frames.ts'

/** Statements of a client that are remembered to be a LISTEN; beyond, all are forgotten. */
const STATEMENTS_MAX = 100
/** NAMEDATALEN - 1: Postgres cuts what is longer. */
const NAME_BYTES_MAX = 63

const LISTEN = /listen(?![\w$\u0080-\uffff])/iy
const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y
const QUOTED = /"[^"]*"/y
const MENTION = /listen/i

const QUERY = 0x51
const PARSE = 0x50
const BIND = 0x42
const EXECUTE = 0x45
const COMMAND_COMPLETE = 0x43
const ERROR_RESPONSE = 0x45
const READY_FOR_QUERY = 0x5a
const IDLE = 0x49

/** Of one client. It has to see all batches from a transaction's begin to its end. */
export class ListenWatch {
  /** Channels of prepared LISTENs by the statement's name, and by that of a portal. */
  readonly #statements = new Map<string, string>()
  readonly #portals = new Map<string, string>()
  /** What was said, what of it was done, and what of that is committed. */
  #said: string[] = []
  #done = 0
  #committed = 0
  #lastTag = ''
  #failed = false
  #mentioned = false
  #hidden = false
  #textOf: (bytes: Uint8Array) => string = fromUtf8

  /**
   * Takes in a batch and its answer.
   * @param textOf reads what the client says. Default: as UTF-8
   * @returns a channel per LISTEN whose transaction has ended well; undefined where it is not known
   */
  take(
    messages: Uint8Array,
    answer: Uint8Array,
    textOf: (bytes: Uint8Array) => string = fromUtf8,
  ): readonly (string | undefined)[] {
    this.#textOf = textOf
    eachMessage(messages, (type, at, end) => this.#say(type, messages.subarray(at + 5, end)))
    const heard: (string | undefined)[] = []
    eachMessage(answer, (type, at, end) => {
      if (type === ERROR_RESPONSE) this.#failed = true
      if (type === COMMAND_COMPLETE) this.#complete(fromUtf8(answer.slice(at + 5, end - 1)))
      if (type !== READY_FOR_QUERY) return
      // One by one: there may be more than a call takes arguments.
      for (const channel of this.#ready(answer[at + 5] === IDLE)) heard.push(channel)
    })
    return heard
  }

  #say(type: number | undefined, body: Uint8Array): void {
    if (type === QUERY)
      for (const name of this.#namesIn(this.#textAt(body, 0))) this.#said.push(name)
    if (type === PARSE) this.#parse(this.#textAt(body, 0), body)
    if (type === BIND && this.#statements.size > 0) {
      const portal = this.#textAt(body, 0)
      const channel = this.#statements.get(this.#textAt(body, body.indexOf(0) + 1))
      if (channel === undefined) this.#portals.delete(portal)
      else this.#portals.set(portal, channel)
    }
    if (type === EXECUTE && this.#portals.size > 0) {
      const channel = this.#portals.get(this.#textAt(body, 0))
      if (channel !== undefined) this.#said.push(channel)
    }
  }

  #parse(statement: string, body: Uint8Array): void {
    const [channel] = this.#namesIn(this.#textAt(body, body.indexOf(0) + 1))
    if (channel === undefined) return void this.#statements.delete(statement)
    if (this.#statements.size >= STATEMENTS_MAX) this.#statements.clear()
    this.#statements.set(statement, channel)
  }

  #textAt(body: Uint8Array, at: number): string {
    return this.#textOf(body.slice(at, body.indexOf(0, at)))
  }

  #namesIn(sql: string): string[] {
    if (!MENTION.test(sql)) return []
    this.#mentioned = true
    return listensIn(sql)
  }

  #complete(tag: string): void {
    this.#lastTag = tag
    if (tag === 'LISTEN') this.#done++
    if (tag === 'COMMIT') this.#committed = this.#done
    // What it does is as invisible as what a function does, but its text is here.
    if (tag === 'DO' && this.#mentioned) this.#hidden = true
  }

  #ready(idle: boolean): (string | undefined)[] {
    // Whatever comes after an error is not done.
    if (this.#failed) this.#said.length = Math.min(this.#said.length, this.#done)
    const failed = this.#failed || this.#lastTag === 'ROLLBACK'
    this.#failed = false
    this.#mentioned = false
    if (!idle) return []
    if (!failed) this.#committed = this.#done
    const said = this.#said.length === this.#done ? this.#said : []
    const heard = Array.from({ length: this.#committed }, (_, index) => said[index])
    if (this.#hidden && !failed) heard.push(undefined)
    this.#said = []
    this.#done = this.#committed = 0
    this.#hidden = false
    this.#portals.clear()
    return heard
  }
}

/** Channels of the statements that are a LISTEN and nothing else. */
function listensIn(sql: string): string[] {
  const channels: string[] = []
  let at = 0
  for (;;) {
    at = skipGap(sql, at)
    const word = matchEnd(LISTEN, sql, at)
    if (word > at) {
      const name = skipGap(sql, word)
      const nameEnd = endOfName(sql, name)
      at = skipGap(sql, nameEnd)
      const isWhole = at === sql.length || sql[at] === ';'
      if (nameEnd > name && isWhole) channels.push(channelOf(sql.slice(name, nameEnd)))
    }
    // A semicolon inside of a text or a name ends nothing, but no LISTEN is done there either.
    const semicolon = sql.indexOf(';', at)
    if (semicolon < 0) return channels
    at = semicolon + 1
  }
}

/** `at` itself if no name is there. */
function endOfName(sql: string, at: number): number {
  if (sql[at] !== '"') return matchEnd(WORD, sql, at)
  let end = at
  // A doubled quote is one of the name, which goes on behind it.
  for (let next = matchEnd(QUOTED, sql, end); next > end; next = matchEnd(QUOTED, sql, end)) {
    end = next
  }
  return end
}

/** A name as SQL has it, to what Postgres makes of it in a database of UTF-8. */
function channelOf(name: string): string {
  const channel = name.startsWith('"')
    ? name.slice(1, -1).replaceAll('""', '"')
    : name.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase())
  const bytes = utf8(channel)
  if (bytes.length <= NAME_BYTES_MAX) return channel
  let end = NAME_BYTES_MAX
  // Not in the middle of a character.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  return fromUtf8(bytes.subarray(0, end))
}
