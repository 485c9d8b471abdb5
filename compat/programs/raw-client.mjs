/**
 * A client without a driver: it sends any messages, and what comes back is lines of text that are
 * the same for any two servers which say the same.
 */
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** Beyond it, whoever has not answered waits for another client. */
const PATIENCE_MS = 3_000
const HEAD_BYTES = 5
const VERSION_3 = 196_608

const int16 = (value) => {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}
const int32 = (value) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
const text = (value) => Buffer.from(`${value}\0`)
const message = (type, ...parts) => {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body])
}
const parameter = (value) =>
  value === null ? int32(-1) : Buffer.concat([int32(Buffer.byteLength(value)), Buffer.from(value)])

/** Messages of a client. */
export const say = {
  query: (sql) => message('Q', text(sql)),
  parse: (name, sql) => message('P', text(name), text(sql), int16(0)),
  bind: (portal, statement, values = []) => {
    const given = [int16(values.length), ...values.map(parameter)]
    return message('B', text(portal), text(statement), int16(0), ...given, int16(0))
  },
  describe: (kind, name) => message('D', Buffer.from(kind), text(name)),
  execute: (portal, rowsMax = 0) => message('E', text(portal), int32(rowsMax)),
  close: (kind, name) => message('C', Buffer.from(kind), text(name)),
  sync: () => message('S'),
  copyData: (data) => message('d', Buffer.from(data)),
  copyDone: () => message('c'),
  copyFail: (why) => message('f', text(why)),
}

const wordsOf = (body) => body.toString().split('\0')

/** How a server's message is written down; undefined: it is not. */
const WRITTEN = {
  R: () => undefined,
  K: () => undefined,
  S: (body) => `S ${wordsOf(body).slice(0, 2).join('=')}`,
  C: (body) => `C ${wordsOf(body)[0]}`,
  Z: (body) => `Z ${body}`,
  E: (body) => failure('E', body),
  N: (body) => failure('N', body),
  T: (body) => `T ${columns(body).join(', ')}`,
  D: (body) => `D ${values(body).join('|')}`,
  d: (body) => `d ${JSON.stringify(body.toString())}`,
  t: (body) =>
    `t ${Array.from({ length: body.readInt16BE(0) }, (_, index) => body.readInt32BE(2 + index * 4))}`,
}

function failure(type, body) {
  const fields = new Map(wordsOf(body).map((field) => [field[0], field.slice(1)]))
  const told = ['V', 'C', 'M', 'D', 'H', 'P', 'W'].map((name) => fields.get(name))
  return [type, ...told.filter((field) => field !== undefined)].join(' ')
}

function columns(body) {
  const names = []
  for (let at = 2; at < body.length;) {
    const end = body.indexOf(0, at)
    names.push(`${body.subarray(at, end)} ${body.readInt32BE(end + 7)}`)
    at = end + 19
  }
  return names
}

function values(body) {
  const found = []
  for (let at = 2; at < body.length;) {
    const length = body.readInt32BE(at)
    at += 4
    found.push(length < 0 ? 'NULL' : body.subarray(at, at + length).toString())
    at += Math.max(length, 0)
  }
  return found
}

export class RawClient {
  #socket
  #pending = Buffer.alloc(0)
  #lines = []
  #readyCount = 0
  #awaited = () => {}
  #notifications = []
  #processId = 0

  static async open(database, parameters = {}) {
    const client = new RawClient()
    const socket = connect(Number(process.env.PGPORT), process.env.PGHOST)
    client.#socket = socket.setNoDelay(true)
    socket.on('data', (bytes) => client.#read(bytes))
    socket.on('error', () => {})
    socket.on('close', () => client.#end())
    const all = Object.entries({ user: process.env.PGUSER, database, ...parameters }).flat()
    const body = Buffer.concat([int32(VERSION_3), ...all.map(text), Buffer.alloc(1)])
    await client.ask(Buffer.concat([int32(body.length + 4), body]))
    return client
  }

  /** Lines until the server has been ready so many times. */
  async ask(bytes, readyCount = 1) {
    this.#readyCount = readyCount
    const answered = new Promise((resolve) => (this.#awaited = resolve))
    this.#socket.write(bytes)
    const waiting = new AbortController()
    const late = delay(PATIENCE_MS, true, { signal: waiting.signal }).catch(() => false)
    if (await Promise.race([answered, late])) this.#lines.push('(waits)')
    waiting.abort()
    return this.#lines.splice(0)
  }

  /** What has been notified since the last time. */
  takeNotifications() {
    return this.#notifications.splice(0)
  }

  close() {
    this.#socket.destroy()
  }

  #read(bytes) {
    this.#pending = Buffer.concat([this.#pending, bytes])
    while (this.#pending.length >= HEAD_BYTES) {
      const end = 1 + this.#pending.readInt32BE(1)
      if (this.#pending.length < end) return
      const type = String.fromCharCode(this.#pending[0])
      this.#take(type, this.#pending.subarray(HEAD_BYTES, end))
      this.#pending = this.#pending.subarray(end)
    }
  }

  #take(type, body) {
    if (type === 'K') this.#processId = body.readInt32BE(0)
    if (type === 'A') {
      const from = body.readInt32BE(0) === this.#processId ? 'itself' : 'another'
      return void this.#notifications.push(`A ${from} ${wordsOf(body.subarray(4)).slice(0, 2)}`)
    }
    const line = type in WRITTEN ? WRITTEN[type](body) : type
    if (line !== undefined) this.#lines.push(line)
    if (type === 'Z' && --this.#readyCount === 0) this.#awaited(false)
  }

  #end() {
    this.#lines.push('(closed)')
    this.#awaited(false)
  }
}
