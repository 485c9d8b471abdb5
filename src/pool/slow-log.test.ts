import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, utf8 } from '../base/bytes.ts'
import { LIMITS } from '../base/limits.ts'
import { type LogFields, silentLog } from '../base/log.ts'
import { message, SYNC } from '../base/protocol-message.ts'
import type { LiveClient } from './pool-client.ts'
import { SlowLog } from './slow-log.ts'

const QUICK = { queueMs: 1, wakeMs: 2, wokenFrom: 'napping', execMs: 3.00049, persistMs: 4 }

function open(statements: boolean, number = 7) {
  const lines: (LogFields | undefined)[] = []
  const log = { ...silentLog, warn: (_: string, fields?: LogFields) => void lines.push(fields) }
  const slow = new SlowLog({ log, afterMs: 10, statements })
  const tenant = { entry: { name: 'acme' } }
  const client = { timings: { ...QUICK }, tenant, number } as unknown as LiveClient
  const say = (...messages: Uint8Array[]): unknown => {
    slow.ended(client, slow.read(client, concatBytes(messages)))
    return lines.at(-1)?.['statement']
  }
  return { lines, slow, client, say }
}

const query = (sql: string): Uint8Array => message('Q', utf8(`${sql}\0`))
const parse = (name: string, sql: string): Uint8Array => message('P', utf8(`${name}\0${sql}\0\0\0`))
/** With one parameter that must not be seen. */
const bind = (name: string): Uint8Array =>
  message(
    'B',
    concatBytes([utf8(`portal\0${name}\0\0\0\0\x01\0\0\0\x07`), utf8('sesame!'), utf8('\0\0')]),
  )

test('a line says who and where the time went, and nothing of what was said', () => {
  const { lines, say } = open(false)
  say(query('select 1'))
  assert.deepEqual(lines, [
    {
      tenant: 'acme',
      client: 7,
      totalMs: 10,
      queueMs: 1,
      wakeMs: 2,
      wokenFrom: 'napping',
      execMs: 3,
      persistMs: 4,
    },
  ])
})

test('what is quick enough is not logged', () => {
  const { lines, slow, client } = open(false)
  Object.assign(client.timings ?? {}, { persistMs: 3.9 })
  slow.ended(client, [])
  assert.deepEqual(lines, [])
})

test('a request over HTTP has no process id', () => {
  const { lines, say } = open(true, -3)
  say(query('select 1'))
  assert.ok(!('client' in (lines[0] ?? {})))
})

test('statements are shown in every form in which they come, parameters in none', () => {
  const { lines, say } = open(true)
  assert.equal(say(query('select 1')), 'select 1')
  assert.equal(say(parse('', 'select $1'), bind(''), SYNC), 'select $1')
  assert.equal(say(parse('named', 'select $1, 2'), SYNC), 'select $1, 2')
  assert.equal(say(bind('named'), bind('named'), SYNC), 'select $1, 2; select $1, 2')
  assert.equal(say(bind('unknown'), SYNC), '(prepared as "unknown")')
  assert.doesNotMatch(JSON.stringify(lines), /sesame/)
})

test('long texts are cut, also in the middle of a character; what is no text does no harm', () => {
  const { say } = open(true)
  const long = `a${'é'.repeat(LIMITS.slowStatementCharsMax)}`
  assert.equal(String(say(query(long))).length <= LIMITS.slowStatementCharsMax, true)
  assert.equal(say(message('Q', new Uint8Array([0xff, 0xfe, 0]))), '\ufffd\ufffd')
  assert.equal(say(message('Q', new Uint8Array(0))), '')
})

test('a text that names a password is not shown', () => {
  const { say } = open(true)
  assert.match(String(say(query(`alter role a PASSWORD 'x'`))), /^\(not shown/)
  assert.match(String(say(query('select 1'), query(`create user b password 'y'`))), /^\(not shown/)
})

test('only so many prepared statements are remembered', () => {
  const { say } = open(true)
  for (let at = 0; at <= LIMITS.slowPreparedMax; at++) say(parse(`s${at}`, `select ${at}`), SYNC)
  assert.equal(say(bind('s0'), SYNC), '(prepared as "s0")')
  assert.equal(say(bind('s1'), SYNC), 'select 1')
})
