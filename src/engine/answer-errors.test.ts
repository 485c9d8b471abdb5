import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concatBytes, fromUtf8, utf8 } from '../base/bytes.ts'
import { type MessageFields, messageOfFields } from '../base/error-message.ts'
import { message } from '../base/protocol-message.ts'
import { explainErrors } from './answer-errors.ts'

const ROW = message('D', utf8('could not load library "/a/utf8_and_win.so"'))
const READY = message('Z', utf8('I'))

function loadError(library: string, routine = 'internal_load_library'): Uint8Array {
  return messageOfFields('E', [
    ['S', 'ERROR'],
    ['V', 'ERROR'],
    ['C', '58P01'],
    ['M', `could not load library "/somewhere/lib/${library}.so": (null)`],
    ['W', 'SQL statement "set names latin1"'],
    ['F', 'dfmgr.c'],
    ['R', routine],
  ])
}

test('a conversion that cannot be loaded is said without a path, all around it is kept', () => {
  for (const library of ['utf8_and_euc_jp', 'euc_kr_and_mic', 'euc2004_sjis2004']) {
    const answer = concatBytes([ROW, loadError(library), ROW, loadError(library), READY])
    const explained = explainErrors(answer, [])
    const error = messageOfFields('E', [
      ['S', 'ERROR'],
      ['V', 'ERROR'],
      ['W', 'SQL statement "set names latin1"'],
      ['C', '0A000'],
      ['M', 'conversion between character encodings is not supported'],
      ['D', `Postgres's conversion ${library} is not available on this server.`],
      [
        'H',
        'use client_encoding UTF8; psql does after "set PGCLIENTENCODING=UTF8" (Windows), ' +
          'or "export PGCLIENTENCODING=UTF8"',
      ],
    ])
    assert.equal(fromUtf8(explained), fromUtf8(concatBytes([ROW, error, ROW, error, READY])))
  }
})

test('so is one whose library lies nowhere', () => {
  const missing = messageOfFields('E', [
    ['C', '58P01'],
    ['M', 'could not access file "utf8_and_sjis": No such file or directory'],
    ['R', 'internal_load_library'],
  ])
  assert.match(fromUtf8(explainErrors(missing, [])), /C0A000\0.*utf8_and_sjis is not available/)
  const other = fromUtf8(missing).replace('utf8_and_sjis', 'salt_and_pepper')
  const kept = explainErrors(utf8(other), [])
  assert.match(fromUtf8(kept), /could not access file/)
})

test('any other error is left as it is', () => {
  for (const error of [loadError('plpython3'), loadError('utf8_and_win', 'exec_stmt_raise')]) {
    const answer = concatBytes([ROW, error, READY])
    assert.equal(explainErrors(answer, []), answer)
  }
})

test('a limit that a file has met is named where Postgres speaks of the disk', () => {
  const error = (fields: MessageFields): Uint8Array =>
    messageOfFields('E', [['S', 'ERROR'], ...fields])
  const full = error([
    ['C', '53100'],
    ['M', 'could not extend file "base/5/16385": No space left on device'],
    ['H', 'Check free disk space.'],
    ['R', 'mdextend'],
  ])
  const told = fromUtf8(explainErrors(concatBytes([ROW, full, READY]), ['database']))
  assert.match(told, /could not extend file "base\/5\/16385": No space left on device/)
  assert.match(told, /\0Dthe database has reached its size limit\0/)
  assert.match(told, /\0HTRUNCATE, DROP, or DELETE and VACUUM; or raise --database-size\0/)
  assert.doesNotMatch(told, /Check free disk space/)
  assert.match(fromUtf8(explainErrors(full, ['temporary'])), /\0Hsort, join or collect fewer rows/)
  assert.match(fromUtf8(explainErrors(full, ['disk'])), /\0Hfree space on that disk/)
  assert.equal(explainErrors(full, []), full)
  const both = fromUtf8(explainErrors(concatBytes([full, ROW, full, READY]), ['temporary', 'disk']))
  assert.match(both, /fewer rows.*free space on that disk/s, 'each its own')
  const others: readonly MessageFields[] = [
    [['C', '22012']],
    [
      ['C', '53100'],
      ['R', 'exec_stmt_raise'],
    ],
  ]
  for (const other of others) {
    const answer = error(other)
    assert.equal(explainErrors(answer, ['disk']), answer)
  }
})
