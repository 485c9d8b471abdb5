/** What every bucket must do. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Bucket } from '../../src/medium/bucket.ts'

/** @param open the same place each time, which is empty at first */
export function bucketConformance(name: string, open: () => Bucket): void {
  const bytes = (...values: number[]): Uint8Array => Uint8Array.of(...values)
  describe(`bucket: ${name}`, () => {
    test('what is not there is undefined, and what was put is got', async () => {
      const bucket = open()
      assert.equal(await bucket.get('a/one'), undefined)
      const tag = await bucket.put('a/one', bytes(1, 2, 3), undefined)
      assert.deepEqual(await open().get('a/one'), { bytes: bytes(1, 2, 3), tag })
      assert.equal(await bucket.get('a/on'), undefined)
      assert.equal(await bucket.get('a'), undefined)
      assert.equal(await bucket.tagOf('a'), undefined)
      assert.equal(await open().tagOf('a/one'), tag)
    })

    test('an object without content is an object', async () => {
      const tag = await open().put('empty', bytes(), undefined)
      assert.deepEqual(await open().get('empty'), { bytes: bytes(), tag })
    })

    test('only what was read is replaced, and another content has another tag', async () => {
      const bucket = open()
      const first = await bucket.put('b', bytes(1), undefined)
      await assert.rejects(bucket.put('b', bytes(9), undefined), { code: 'STORE_FENCED' })
      const second = await bucket.put('b', bytes(2), first)
      assert.notEqual(second, first)
      await assert.rejects(bucket.put('b', bytes(9), first), { code: 'STORE_FENCED' })
      assert.deepEqual(await bucket.get('b'), { bytes: bytes(2), tag: second })
    })

    test('what is not there cannot be replaced', async () => {
      const bucket = open()
      const tag = await bucket.put('there', bytes(1), undefined)
      await assert.rejects(bucket.put('nowhere', bytes(1), tag), { code: 'STORE_FENCED' })
      assert.equal(await bucket.get('nowhere'), undefined)
    })

    test('of writers at the same time exactly one is let through', async () => {
      const first = await open().put('c', bytes(0), undefined)
      const writers = [1, 2, 3, 4, 5].map((value) => open().put('c', bytes(value), first))
      const outcomes = await Promise.allSettled(writers)
      const won = outcomes.flatMap((outcome, index) =>
        outcome.status === 'fulfilled' ? [[index + 1, outcome.value] as const] : [],
      )
      assert.equal(won.length, 1)
      const [value = 0, tag] = won[0] ?? []
      assert.deepEqual(await open().get('c'), { bytes: bytes(value), tag })
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') {
          assert.equal((outcome.reason as { code: string }).code, 'STORE_FENCED')
        }
      }
    })

    test('keeps 5 MB as they are', async () => {
      const large = new Uint8Array(5_000_000).map((_, index) => index * 31)
      const tag = await open().put('large', large, undefined)
      const found = await open().get('large')
      assert.equal(found?.tag, tag)
      assert.equal(Buffer.compare(found?.bytes ?? bytes(), large), 0)
    })
  })
}
