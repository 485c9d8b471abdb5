/**
 * Games of two or three clients of one database, who say anything at any time, one after the other:
 * statements, pipelines, COPY, while another has a transaction open or temporary tables or a lock.
 * What is said depends on a number and on what was answered, so two servers that answer the same
 * are asked the same.
 *
 * Beside an open transaction the others read, and do not write: that waits in pgnap
 * (docs/limits.md), and may in a server.
 *
 * COMPAT_GAMES="1000 500" plays five hundred others than the usual ones.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { RawClient, say } from './raw-client.mjs'
import { anything, aside, pick, query, SETUP } from './session-grammar.mjs'
import { section } from './tool.mjs'

const [FIRST, COUNT] = (process.env.COMPAT_GAMES ?? '1 40').split(' ').map(Number)
const EPISODES = 10
/** For what is notified to idle clients. */
const SETTLE_MS = 100
/** What keeps a backend with its client is gone afterwards, and so is what would hinder that. */
const KEEPS = /temp|advisory|with hold/
const TIDY = [
  'reset session authorization',
  'reset role',
  'close all',
  'select pg_advisory_unlock_all()',
  'set client_min_messages = error',
  'discard temp',
  'reset client_min_messages',
]

/** Numbers below a bound, the same for the same seed. */
function chance(seed) {
  let state = Math.imul(seed, 2_654_435_761) >>> 0
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
  }
}

/** What means the same: COPY (decisions/0005), the order of reports, names of the time zone. */
function alike(lines) {
  const isReport = (line) => line.startsWith('S ')
  const reports = lines.filter(isReport).toSorted()
  return lines
    .filter((line, index) => !(line === 'G' && lines[index + 1]?.startsWith('E ')))
    .map((line) => (isReport(line) ? reports.shift() : line))
    .map((line) => line.replace(/(COPY \w+), line \d+$/, '$1').replace(/pg_temp_\d+/g, 'pg_temp'))
    .map((line) => line.replaceAll('Etc/UTC', 'UTC'))
}

class Game {
  #clients = []
  #statuses = []
  #below
  /** Somebody waits, or has lost his connection. */
  isOver = false

  constructor(seed) {
    this.#below = chance(seed)
  }

  async play(database) {
    for (let index = 0; index < 2 + this.#below(2); index++) {
      const options = { options: '-c work_mem=6MB', application_name: 'second' }
      this.#clients.push(await RawClient.open(database, index === 1 ? options : {}))
    }
    this.#statuses = this.#clients.map(() => 'I')
    for (const line of await this.#clients[0].ask(say.query(SETUP)))
      if (line.startsWith('E ')) throw new Error(line)
    for (let episode = 0; episode < EPISODES && !this.isOver; episode++) await this.#episode()
    await this.#hear()
    for (const client of this.#clients) client.close()
  }

  async #episode() {
    const below = this.#below
    const who = below(this.#clients.length)
    let keeps = false
    for (let left = 1 + below(7); left > 0 && !this.isOver; left--) {
      const step = anything(below)
      keeps ||= KEEPS.test(step.written)
      await this.#say(who, step)
      const other = below(this.#clients.length)
      const isFree = !keeps && other !== who && this.#statuses[other] === 'I'
      if (isFree && below(4) === 0) await this.#say(other, aside(below))
    }
    if (this.#statuses[who] !== 'I')
      await this.#say(who, query(pick(below, ['commit', 'rollback'])))
    if (keeps) for (const sql of TIDY) await this.#say(who, query(sql))
  }

  async #say(who, { written, bytes, readyCount }) {
    if (this.isOver) return
    const lines = alike(await this.#clients[who].ask(bytes, readyCount))
    console.log([`${who}> ${written}`, ...lines.map((line) => `  ${line}`)].join('\n'))
    const last = lines.at(-1) ?? ''
    if (last.startsWith('Z ')) this.#statuses[who] = last.slice(2)
    else this.isOver = true
  }

  async #hear() {
    if (this.isOver) return
    await delay(SETTLE_MS)
    for (const [who, client] of this.#clients.entries()) {
      await client.ask(say.sync())
      for (const line of client.takeNotifications()) console.log(`${who} has heard ${line}`)
    }
  }
}

const first = await RawClient.open(process.env.PGDATABASE)
for (let seed = FIRST; seed < FIRST + COUNT; seed++) {
  section(`game ${seed}`)
  const database = `game${seed}`
  await first.ask(say.query(`create database ${database}`))
  await new Game(seed).play(database)
  const tidy = await RawClient.open(database)
  await tidy.ask(say.query('drop owned by r1; drop role r1'))
  tidy.close()
  await delay(SETTLE_MS)
  await first.ask(say.query(`drop database ${database} with (force)`))
}
first.close()
