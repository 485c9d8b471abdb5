import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { LoginAttempt } from '../router/login-attempts.ts'
import { SharedLoginLimiter, allocateLogins, networkOf } from './login-limiter.ts'

const SECRET = new Uint8Array(32).fill(1)
const PER_ADDRESS = 5

function open(addressFailuresMax = PER_ADDRESS) {
  const clock = new ManualClock()
  const logins = allocateLogins(clock.nowMs())
  const make = () => new SharedLoginLimiter({ logins, secret: SECRET, addressFailuresMax, clock })
  return { clock, limiter: make(), other: make(), logins }
}

const attempt = (address: string, user = 'ann', database = 'acme'): LoginAttempt => ({
  address,
  user,
  database,
})

function isLimited(limiter: SharedLoginLimiter, of: LoginAttempt): string | undefined {
  try {
    limiter.check(of)
    return undefined
  } catch (error) {
    assert.ok(error instanceof PgnapError && error.code === 'LOGIN_LIMITED')
    return `${error.message}; ${error.hint}`
  }
}

test('one address has its failures, waits, and gets them back one by one', () => {
  const { limiter, clock } = open()
  for (let count = 0; count < PER_ADDRESS; count++) {
    assert.equal(isLimited(limiter, attempt('10.0.0.1', `u${count}`)), undefined)
    limiter.failed(attempt('10.0.0.1', `u${count}`))
  }
  assert.match(isLimited(limiter, attempt('10.0.0.1')) ?? '', /this address; try again in 5 s/)
  assert.equal(isLimited(limiter, attempt('10.0.0.2')), undefined)
  clock.advance(LIMITS.loginFailuresAddressRefillMs)
  assert.equal(isLimited(limiter, attempt('10.0.0.1')), undefined)
  limiter.failed(attempt('10.0.0.1', 'last'))
  assert.ok(isLimited(limiter, attempt('10.0.0.1')))
})

test('one user of one tenant has its own, from however many addresses', () => {
  const { limiter } = open()
  for (let count = 0; count < LIMITS.loginFailuresPerRoleMax; count++) {
    limiter.failed(attempt(`10.0.${count}.1`))
  }
  assert.match(isLimited(limiter, attempt('10.9.9.9')) ?? '', /as this user/)
  assert.match(isLimited(limiter, attempt('10.9.9.9', 'ann', 'acme@b')) ?? '', /as this user/)
  assert.equal(isLimited(limiter, attempt('10.9.9.9', 'ann', 'beta')), undefined)
  assert.equal(isLimited(limiter, attempt('10.9.9.9', 'bob', 'acme')), undefined)
})

test('all threads of a server count together', () => {
  const { limiter, other } = open()
  for (let count = 0; count < PER_ADDRESS; count++) {
    ;(count % 2 === 0 ? limiter : other).failed(attempt('10.0.0.1', `u${count}`))
  }
  assert.ok(isLimited(limiter, attempt('10.0.0.1')))
  assert.ok(isLimited(other, attempt('10.0.0.1')))
})

test('a clock that is set back keeps nobody out for longer than an allowance', () => {
  const { limiter, clock } = open()
  for (let count = 0; count < 100; count++) limiter.failed(attempt('10.0.0.1', `u${count}`))
  const aheadMs = clock.nowMs()
  clock.nowMs = () => aheadMs - 3_600_000
  const wait = /try again in (\d+) s/.exec(isLimited(limiter, attempt('10.0.0.1')) ?? '')?.[1]
  assert.ok(Number(wait) * 1000 <= LIMITS.loginFailuresAddressRefillMs)
})

test('100,000 addresses take no more memory, and few strangers are stopped for them', () => {
  const { limiter, logins } = open()
  const bytes = logins.memory.byteLength
  assert.equal(bytes, 4 * 4 * LIMITS.loginCellsPerRow)
  for (let count = 0; count < 2_000; count++) {
    const address = `10.${count >> 8}.${count & 255}.1`
    for (let again = 0; again < PER_ADDRESS; again++) limiter.failed(attempt(address, `u${again}`))
  }
  let stopped = 0
  for (let count = 0; count < 2_000; count++) {
    if (isLimited(limiter, attempt(`172.${count >> 8}.${count & 255}.1`, `v${count}`))) stopped++
  }
  assert.ok(stopped < 20, `${stopped} of 2,000`)
})

test('0 lets everybody be wrong', () => {
  const { limiter } = open(0)
  for (let count = 0; count < 1_000; count++) limiter.failed(attempt('10.0.0.1'))
  assert.equal(isLimited(limiter, attempt('10.0.0.1')), undefined)
})

test('an address of IPv6 counts by its network', () => {
  assert.equal(networkOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2')
  assert.equal(networkOf('2001:db8::1'), networkOf('2001:0DB8:0:0:ffff::2'))
  assert.notEqual(networkOf('2001:db8:0:1::1'), networkOf('2001:db8::1'))
  assert.equal(networkOf('fe80::1%eth0'), 'fe80:0:0:0')
  assert.equal(networkOf('::1'), '0:0:0:0')
  assert.equal(networkOf('::ffff:192.0.2.1'), '192.0.2.1')
  assert.equal(networkOf('192.0.2.1'), '192.0.2.1')
})
