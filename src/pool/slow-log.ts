/**
 * Names the batches that took long: who sent them, and where the time went. Their text only if that
 * was allowed, and never a parameter: what Bind carries is not looked at.
 *
 * A batch is what a client sends up to its Sync, so a pipeline is one line with several statements.
 * Without `statements` nothing is read of what clients send.
 */
import { fromUtf8 } from '../base/bytes.ts'
import { LIMITS } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import { eachMessage } from '../base/message-frames.ts'
import { UTF8 } from '../engine/client-encoding.ts'
import type { Slot } from '../engine/engine.ts'
import type { LiveClient } from './pool-client.ts'

export interface SlowLogOptions {
  readonly log: Log
  /** Batches that take so long from request to answer, waits included. */
  readonly afterMs: number
  /** Whether the text of statements is logged, as the client wrote it. */
  readonly statements: boolean
}

const PARSE = 0x50
const BIND = 0x42
const QUERY = 0x51
const HEAD_BYTES = 5
/** Where a statement says so, a secret may follow. */
const SECRET = /password|scram/i
const HIDDEN = '(not shown: it may hold a password)'

/** Named statements of one client, by name, in the order in which they were parsed. */
type Prepared = Map<string, string>

export class SlowLog {
  readonly #options: SlowLogOptions
  readonly #prepared = new WeakMap<LiveClient, Prepared>()

  constructor(options: SlowLogOptions) {
    this.#options = options
  }

  /**
   * What a batch says that is about to run, as far as it is to be logged. To be asked before it
   * runs: the client's bytes are not there afterwards.
   * @param slot in which it will; it knows how to read what is not UTF-8
   */
  read(client: LiveClient, messages: Uint8Array, slot?: Slot): readonly string[] {
    if (!this.#options.statements) return []
    const textOf = readerFor(client, slot)
    const statements: string[] = []
    let last: string | undefined
    eachMessage(messages, (type, at, end) => {
      if (type !== PARSE && type !== BIND && type !== QUERY) return
      const texts = new Texts(messages, { at: at + HEAD_BYTES, end, textOf })
      const first = texts.next()
      if (type === QUERY) statements.push(first)
      if (type === PARSE) this.#remember(client, first, (last = texts.next()))
      if (type !== BIND) return
      const name = texts.next()
      statements.push(this.#prepared.get(client)?.get(name) ?? last ?? `(prepared as "${name}")`)
    })
    return statements.length > 0 || last === undefined ? statements : [last]
  }

  /** A batch has been answered. @param statements from {@link read} */
  ended(client: LiveClient, statements: readonly string[]): void {
    const { timings, tenant, number } = client
    if (!timings) return
    const { queueMs, wakeMs, wokenFrom, execMs, persistMs } = timings
    const totalMs = queueMs + wakeMs + execMs + persistMs
    const { log, afterMs } = this.#options
    if (totalMs < afterMs) return
    log.warn('slow statement', {
      tenant: tenant.entry.name,
      // Below 0 are the numbers of requests over HTTP, which no client knows.
      ...(number > 0 ? { client: number } : {}),
      totalMs: rounded(totalMs),
      queueMs: rounded(queueMs),
      wakeMs: rounded(wakeMs),
      ...(wokenFrom === 'awake' ? {} : { wokenFrom }),
      execMs: rounded(execMs),
      persistMs: rounded(persistMs),
      ...(statements.length > 0 ? { statement: shown(statements) } : {}),
    })
  }

  #remember(client: LiveClient, name: string, statement: string): void {
    if (name === '') return
    let prepared = this.#prepared.get(client)
    if (!prepared) this.#prepared.set(client, (prepared = new Map()))
    prepared.delete(name)
    prepared.set(name, statement.slice(0, LIMITS.slowStatementCharsMax))
    const [oldest] = prepared.keys()
    if (prepared.size > LIMITS.slowPreparedMax && oldest !== undefined) prepared.delete(oldest)
  }
}

/** Reads the strings of one message, each ended by a zero. */
class Texts {
  readonly #bytes: Uint8Array
  readonly #end: number
  readonly #textOf: (bytes: Uint8Array) => string
  #at: number

  constructor(
    bytes: Uint8Array,
    { at, end, textOf }: { at: number; end: number; textOf: (bytes: Uint8Array) => string },
  ) {
    this.#bytes = bytes
    this.#at = at
    this.#end = end
    this.#textOf = textOf
  }

  /** No more of it than is logged: a text may be as long as a message. */
  next(): string {
    const zero = this.#bytes.indexOf(0, this.#at)
    const end = zero < 0 || zero > this.#end ? this.#end : zero
    const cut = Math.min(end, this.#at + LIMITS.slowStatementCharsMax)
    const text = this.#textOf(this.#bytes.subarray(this.#at, cut))
    this.#at = end + 1
    return text
  }
}

/** Reads what a client says, in whichever encoding that is. */
function readerFor(client: LiveClient, slot: Slot | undefined): (bytes: Uint8Array) => string {
  if (!slot || slot.lost === true) return fromUtf8
  const encoding = client.tenant.sessions.encodingOf(client, slot)
  if (encoding === UTF8) return fromUtf8
  // A text that was cut in the middle of a character is none.
  return (bytes) => fromUtf8(slot.session.convert(bytes, encoding, UTF8) ?? bytes)
}

function shown(statements: readonly string[]): string {
  const text = statements.join('; ')
  if (SECRET.test(text)) return HIDDEN
  return text.slice(0, LIMITS.slowStatementCharsMax)
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
