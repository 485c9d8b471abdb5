import assert from 'node:assert/strict'
import { test } from 'node:test'
import { say } from '../../test/support/messages.ts'
import { concatBytes, utf8 } from '../base/bytes.ts'
import { message } from '../base/protocol-message.ts'
import { leavesPortal } from './floating-transaction.ts'

const none = message('C', utf8('SELECT 1\0'))
const suspended = message('s', new Uint8Array(0))

test('a portal that is bound and read to its end is nobody’s any more', () => {
  const whole = concatBytes([
    say.parse('a', 'select 1'),
    say.bind('', 'a'),
    say.execute(''),
    say.bind('', 'a'),
    say.execute(''),
    say.sync(),
    say.query('select 2'),
  ])
  assert.equal(leavesPortal(whole, none), false)
  assert.equal(leavesPortal(whole, concatBytes([none, suspended])), true)
})

test('one with a name, or that nobody has read yet, may be asked for later', () => {
  const named = concatBytes([say.bind('c', 'a'), say.execute('c'), say.sync()])
  assert.equal(leavesPortal(named, none), true)
  assert.equal(leavesPortal(concatBytes([say.bind('', 'a'), say.sync()]), none), true)
  const twice = [say.bind('', 'a'), say.bind('', 'a'), say.execute(''), say.sync()]
  assert.equal(leavesPortal(concatBytes(twice), none), true)
})
