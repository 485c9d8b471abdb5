import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from '../base/limits.ts'
import { ClientPace, TenantPace } from './batch-pace.ts'

function beQuick(client: ClientPace, nowMs = 0): void {
  for (let n = 0; n < LIMITS.trustBatches; n++) client.note(0.1, nowMs)
}

test('who is new is not trusted, who has been quick is, until he takes his time', () => {
  const client = new ClientPace(new TenantPace())
  assert.equal(client.isTrusted(0), false)
  beQuick(client)
  assert.equal(client.isTrusted(0), true)
  client.note(LIMITS.quickBatchMs, 0)
  assert.equal(client.isTrusted(0), false)
  beQuick(client)
  assert.equal(client.isTrusted(0), true, 'it was not long: nobody holds it against the tenant')
})

test('who comes to a tenant of quick ones is trusted as they are', () => {
  const tenant = new TenantPace()
  beQuick(new ClientPace(tenant))
  const newcomer = new ClientPace(tenant)
  assert.equal(newcomer.isTrusted(0), true)
  newcomer.note(LIMITS.longBatchMs, 0)
  assert.equal(new ClientPace(tenant).isTrusted(LIMITS.distrustMs), false)
})

test('clients that send one quick batch each prove their tenant, until one takes its time', () => {
  const tenant = new TenantPace()
  for (let n = 0; n < LIMITS.trustBatches; n++) {
    const client = new ClientPace(tenant)
    assert.equal(client.isTrusted(0), false)
    client.note(0.1, 0)
  }
  assert.equal(new ClientPace(tenant).isTrusted(0), true)
  new ClientPace(new TenantPace()).note(LIMITS.longBatchMs, 0)
  assert.equal(new ClientPace(tenant).isTrusted(0), true)
  const slow = new ClientPace(tenant)
  slow.note(LIMITS.quickBatchMs, 0)
  assert.equal(new ClientPace(tenant).isTrusted(0), false)
})

test('a trusted batch that is long costs its whole tenant the trust, each time for longer', () => {
  const tenant = new TenantPace()
  const [client, other] = [new ClientPace(tenant), new ClientPace(tenant)]
  const stranger = new ClientPace(new TenantPace())
  for (const each of [other, stranger]) beQuick(each)
  let nowMs = 1_000
  for (let times = 0; times < 12; times++) {
    const lastsMs = Math.min(LIMITS.distrustMs * 2 ** times, LIMITS.distrustMsMax)
    beQuick(client)
    assert.equal(client.isTrusted(nowMs), true)
    client.note(LIMITS.longBatchMs, nowMs)
    beQuick(client, nowMs)
    for (const each of [client, other]) assert.equal(each.isTrusted(nowMs + lastsMs - 1), false)
    assert.equal(stranger.isTrusted(nowMs), true)
    nowMs += lastsMs
    assert.equal(other.isTrusted(nowMs), true)
  }
  nowMs += LIMITS.distrustMsMax
  client.note(LIMITS.longBatchMs, nowMs)
  assert.equal(other.isTrusted(nowMs + LIMITS.distrustMs), true, 'what is long ago is forgotten')
})

test('a long batch that could pause is held against nobody', () => {
  const tenant = new TenantPace()
  const [client, other] = [new ClientPace(tenant), new ClientPace(tenant)]
  beQuick(other)
  client.note(10 * LIMITS.longBatchMs, 5)
  assert.equal(other.isTrusted(5), true)
})
