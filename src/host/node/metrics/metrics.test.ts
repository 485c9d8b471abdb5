import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ManualClock } from '../../../base/clock.ts'
import { LIMITS } from '../../../base/limits.ts'
import { parseExposition } from '../../../../test/support/exposition.ts'
import { FakeControl } from '../../../../test/support/fake-control.ts'
import { Metrics } from './metrics.ts'

const DOCUMENT = new URL('../../../../docs/metrics.md', import.meta.url)

function open(): { control: FakeControl; clock: ManualClock; metrics: Metrics } {
  const control = new FakeControl()
  const clock = new ManualClock()
  return { control, clock, metrics: new Metrics({ control, clock, version: '1.2.3' }) }
}

test('the page is well formed, and docs/metrics.md lists its families both ways', async () => {
  const { metrics } = open()
  const { contentType, text } = await metrics.page()
  assert.match(contentType, /^text\/plain; version=0\.0\.4/)
  const families = parseExposition(text)
  assert.equal(families.get('pgnap_info')?.samples.size, 1)
  const own = [...families.values()].filter(({ name }) => name.startsWith('pgnap_'))
  const listed = readFileSync(DOCUMENT, 'utf8').matchAll(/^\| `(pgnap_\w+)` \| (\w+) \|/gm)
  assert.deepEqual(
    own.map(({ name, type }) => `${name} ${type}`).toSorted(),
    Array.from(listed, ([, name, type]) => `${name} ${type}`).toSorted(),
  )
  for (const name of ['process_resident_memory_bytes', 'nodejs_eventloop_lag_seconds']) {
    assert.ok(families.has(name), name)
  }
})

test('durations are seconds, with all buckets of the shards', async () => {
  const { control, metrics } = open()
  const wait = {
    count: 5,
    totalMs: 2_500,
    p50Ms: 1,
    p99Ms: 2,
    maxMs: 2,
    histogram: { 0.128: 2, 1.024: 4 },
  }
  control.poolFacts = { ...control.poolFacts, wait }
  const { samples } = parseExposition((await metrics.page()).text).get('pgnap_wait_seconds') ?? {}
  assert.deepEqual(Object.fromEntries(samples ?? []), {
    'pgnap_wait_seconds_bucket{le="0.000128"}': 2,
    'pgnap_wait_seconds_bucket{le="0.001024"}': 4,
    'pgnap_wait_seconds_bucket{le="+Inf"}': 5,
    pgnap_wait_seconds_sum: 2.5,
    pgnap_wait_seconds_count: 5,
  })
})

test('only so many tenants have series of their own', async () => {
  const { control, metrics } = open()
  control.busiestFacts = Array.from({ length: 1_000 }, (_, at) => ({
    name: `tenant-${at}`,
    busyMs: 1_000 - at,
  }))
  const { samples } =
    parseExposition((await metrics.page()).text).get('pgnap_tenant_busy_seconds_total') ?? {}
  assert.equal(samples?.size, LIMITS.metricsTenantsMax)
  assert.equal(samples.get('pgnap_tenant_busy_seconds_total{tenant="tenant-0"}'), 1)
})

test('a shard that does not answer leaves the numbers as they were, and says how old', async () => {
  const { control, clock, metrics } = open()
  control.poolFacts = { ...control.poolFacts, requests: 7 }
  await metrics.page()
  control.pool = () => new Promise(() => {})
  clock.advance(60_000)
  for (let count = 0; count < 2; count++) {
    const page = metrics.page()
    clock.advance(LIMITS.metricsAnswerMs)
    const families = parseExposition((await page).text)
    assert.equal(families.get('pgnap_requests_total')?.samples.get('pgnap_requests_total'), 7)
    const age = families.get('pgnap_pool_age_seconds')?.samples.get('pgnap_pool_age_seconds')
    assert.equal(age, 60 + ((count + 1) * LIMITS.metricsAnswerMs) / 1_000)
  }
})

test('without any answer yet there are the numbers that need none', async () => {
  const { control, metrics } = open()
  control.pool = () => Promise.reject(new Error('its thread has ended'))
  const families = parseExposition((await metrics.page()).text)
  assert.ok(families.has('pgnap_shard_up'))
  assert.ok(!families.has('pgnap_requests_total'))
})
