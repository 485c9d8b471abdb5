import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { concatBytes } from '../../base/bytes.ts'
import { message } from '../../base/protocol-message.ts'
import { parameterStatus, readyForQuery } from './server-messages.ts'
import { ToldSettings } from './told-settings.ts'

const READY = readyForQuery('idle')
const DONE = message('C', Buffer.from('SET\0'))
const ROW = message('D', Buffer.from('S\0\0\0\x10 TimeZone\0UTC\0'))

const answer = (...reports: Uint8Array[]): Uint8Array => concatBytes([ROW, DONE, ...reports, READY])

test('what all have is no news, anything else is told once', () => {
  const told = new ToldSettings()
  const [utc, rome] = ['UTC', 'Europe/Rome'].map((zone) => parameterStatus('TimeZone', zone))
  assert.ok(utc && rome)
  assert.deepEqual(told.news(answer(utc), false), answer())
  assert.deepEqual(told.news(answer(rome), false), answer(rome))
  assert.deepEqual(told.news(answer(rome), false), answer())
  assert.deepEqual(told.news(answer(utc), false), answer(utc))
})

test('of several reports the old ones are left out', () => {
  const told = new ToldSettings()
  told.tell(parameterStatus('application_name', 'psql'))
  const [old, one, two] = [
    parameterStatus('application_name', 'psql'),
    parameterStatus('search_path', ''),
    parameterStatus('DateStyle', 'German, DMY'),
  ]
  assert.deepEqual(told.news(answer(one, old, two), false), answer(one, two))
  assert.deepEqual(told.news(answer(one, old, two), false), answer())
})

test('in a pipeline they stand before each ReadyForQuery', () => {
  const told = new ToldSettings()
  const report = parameterStatus('DateStyle', 'German, DMY')
  const both = concatBytes([answer(report), answer(report), answer()])
  const expected = concatBytes([answer(report), answer(), answer()])
  assert.deepEqual(told.news(both, true), expected)
})

test('an answer without reports is handed on as it is', () => {
  const told = new ToldSettings()
  for (const each of [
    answer(),
    READY,
    new Uint8Array(0),
    DONE,
    concatBytes([ROW, READY]),
    concatBytes([message('E', Buffer.from('SERROR\0C42601\0Mno\0\0')), READY]),
  ]) {
    assert.equal(told.news(each, false), each)
  }
})

test('values of any length, and names, are found from behind', () => {
  const values = fc.stringMatching(/^[a-z ,"]{0,700}$/)
  const property = fc.property(values, (value) => {
    const told = new ToldSettings()
    const report = parameterStatus('pgnap_setting', value)
    assert.deepEqual(told.news(answer(report), false), answer(report))
    assert.deepEqual(told.news(answer(report), false), answer())
  })
  fc.assert(property)
  for (let length = 200; length < 300; length++) {
    const told = new ToldSettings()
    const report = parameterStatus('pgnap_setting', 'x'.repeat(length))
    told.tell(report)
    assert.deepEqual(told.news(answer(report), false), answer())
  }
})

test('whatever bytes come, they are not read beyond their end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (bytes, isPipeline) => {
      const whole = concatBytes([bytes, READY])
      assert.ok(new ToldSettings().news(whole, isPipeline).length <= whole.length)
    }),
  )
})
