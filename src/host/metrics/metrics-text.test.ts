import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseExposition } from '../../../test/support/exposition.ts'
import { MetricsText } from './metrics-text.ts'

test('every kind is written as a strict reader wants it, words of strangers included', () => {
  const text = new MetricsText('Of this test.')
  text.info('pgnap_info', 'Versions.', { version: 'a"b\\c\nd' })
  text.gauge('pgnap_slots_max', 'As many.', 1)
  text.counter('pgnap_requests_total', 'Batches.', 1e21)
  text.gauges('pgnap_tenants', 'Tenants.', 'state', { awake: 1, cold: 0.5 })
  text.counters('pgnap_errors_total', 'Errors.', 'class', {})
  const facts = { count: 5, totalMs: 2_500, p50Ms: 1, p99Ms: 2, maxMs: 2 }
  const histogram = { 0.128: 2, 1.024: 4 }
  text.durations('pgnap_wake_seconds', 'Loading.', [[{ ...facts, histogram }, { tier: 'cold' }]])
  const families = parseExposition(text.page.text)
  assert.deepEqual(
    [...families.values()].map(({ name, type, help }) => `${name} ${type} ${help}`),
    [
      'pgnap_info gauge Versions. Of this test.',
      'pgnap_slots_max gauge As many. Of this test.',
      'pgnap_requests_total counter Batches. Of this test.',
      'pgnap_tenants gauge Tenants. Of this test.',
      'pgnap_errors_total counter Errors. Of this test.',
      'pgnap_wake_seconds histogram Loading. Of this test.',
    ],
  )
  assert.deepEqual(Object.fromEntries(families.get('pgnap_tenants')?.samples ?? []), {
    'pgnap_tenants{state="awake"}': 1,
    'pgnap_tenants{state="cold"}': 0.5,
  })
  assert.deepEqual(Object.fromEntries(families.get('pgnap_wake_seconds')?.samples ?? []), {
    'pgnap_wake_seconds_bucket{tier="cold",le="0.000128"}': 2,
    'pgnap_wake_seconds_bucket{tier="cold",le="0.001024"}': 4,
    'pgnap_wake_seconds_bucket{tier="cold",le="+Inf"}': 5,
    'pgnap_wake_seconds_sum{tier="cold"}': 2.5,
    'pgnap_wake_seconds_count{tier="cold"}': 5,
  })
})
