import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bundleWorker } from '../../scripts/cloudflare/bundle.ts'
import type { Outcome } from './worker/test-runner.ts'
import { startWorker } from '../../scripts/cloudflare/local.ts'

// The suites of test/conformance, inside of workerd: on the storage of a Durable Object, and on R2.

const files = await bundleWorker({
  entry: 'test/cloudflare/worker/conformance-worker.ts',
  engine: new Map(),
  instead: { 'node:test': 'test/cloudflare/worker/test-runner.ts' },
})
await using worker = await startWorker(files, {
  durableObjects: { SUITE: { className: 'SuiteObject', useSQLite: true } },
  r2Buckets: { BUCKET: 'suites' },
})

for (const suite of ['medium', 'store', 'replica', 'bucket', 'medium-r2', 'store-r2']) {
  const answer = await worker.fetch(`/${suite}`)
  assert.equal(answer.status, 200, await answer.clone().text())
  const outcomes = (await answer.json()) as Outcome[]
  assert.ok(outcomes.length > 4, 'a suite has tests')
  for (const { name, failure, skipped } of outcomes) {
    test(name, (context) => {
      if (skipped !== undefined) context.skip(skipped)
      assert.equal(failure, undefined)
    })
  }
}
