/** A client of the wire that says bytes: what drivers, all of which want UTF-8, cannot say. */
import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import type { Target } from './clients.ts'
import { plainSocket } from './raw-tls.ts'

export interface WireMessage {
  readonly type: string
  readonly body: Buffer
}

/** Text to bytes and back, one for each character: ISO 8859-1. */
export const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

/** A frontend message. */
export function frame(type: string, ...parts: readonly (string | Buffer)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? latin1(part) : part)))
  const head = Buffer.alloc(type.length + 4)
  head.write(type)
  head.writeInt32BE(body.length + 4, type.length)
  return Buffer.concat([head, body])
}

export class WireClient implements AsyncDisposable {
  readonly #socket: Socket
  #unread = Buffer.alloc(0)
  #wake: (() => void) | undefined
  #ended = false

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#unread = Buffer.concat([this.#unread, chunk])
      this.#wake?.()
    })
    socket.on('close', () => {
      this.#ended = true
      this.#wake?.()
    })
  }

  /** @returns the client, and what it was greeted with */
  static async connect(
    target: Target,
    database: string,
    parameters: Readonly<Record<string, string>> = {},
  ): Promise<WireClient & { greeted?: readonly WireMessage[] }> {
    const client: WireClient & { greeted?: readonly WireMessage[] } = new WireClient(
      await plainSocket(target),
    )
    const version = Buffer.from([0, 3, 0, 0])
    const all = { user: 'postgres', database, ...parameters }
    const pairs = Object.entries(all).map(([name, value]) => `${name}\0${value}\0`)
    client.#socket.write(frame('', version, Buffer.from(pairs.join('')), '\0'))
    client.greeted = await client.answer()
    return client
  }

  /** Sends messages, and waits for nothing. */
  send(...messages: readonly Uint8Array[]): void {
    this.#socket.write(Buffer.concat(messages))
  }

  /** Sends messages, and reads up to the next ReadyForQuery. */
  async say(...messages: readonly Uint8Array[]): Promise<readonly WireMessage[]> {
    this.send(...messages)
    return this.answer()
  }

  /** A simple query. @param sql a string is bytes of ISO 8859-1 */
  query(sql: string | Buffer): Promise<readonly WireMessage[]> {
    return this.say(frame('Q', sql, '\0'))
  }

  /** The first value of the answer to a query, or its error. */
  async value(sql: string | Buffer): Promise<string> {
    const messages = await this.query(sql)
    return errorOf(messages) ?? valuesOf(messages)[0] ?? ''
  }

  async answer(): Promise<readonly WireMessage[]> {
    const messages: WireMessage[] = []
    for (;;) {
      const message = await this.next()
      messages.push(message)
      const isEnd = message.type === 'Z' || message.type === 'G'
      if (isEnd || (message.type === 'E' && message.body.includes('FATAL'))) return messages
    }
  }

  async next(): Promise<WireMessage> {
    while (this.#unread.length < 5 || this.#unread.length < 1 + this.#unread.readInt32BE(1)) {
      assert.ok(!this.#ended, 'the server has more to say')
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      await promise
    }
    const end = 1 + this.#unread.readInt32BE(1)
    const message = {
      type: String.fromCharCode(this.#unread[0] ?? 0),
      body: this.#unread.subarray(5, end),
    }
    this.#unread = this.#unread.subarray(end)
    return message
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    this.#socket.end(frame('X'))
    await promise
  }
}

/** First values of the rows of an answer, a character for each byte. */
export function valuesOf(messages: readonly WireMessage[]): string[] {
  return messages
    .filter(({ type }) => type === 'D')
    .map(({ body }) => body.toString('latin1', 6, 6 + Math.max(0, body.readInt32BE(2))))
}

/** SQLSTATE and message of the first error, a character for each byte. */
export function errorOf(messages: readonly WireMessage[]): string | undefined {
  const error = messages.find(({ type }) => type === 'E')
  if (!error) return undefined
  const fields = error.body.toString('latin1').split('\0')
  const of = (letter: string): string =>
    fields.find((each) => each.startsWith(letter))?.slice(1) ?? ''
  return `${of('C')} ${of('M')}`
}
