import assert from 'node:assert/strict'
import { readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { FolderBucket } from '../../src/host/node/folder-bucket.ts'
import { bucketConformance } from './bucket.ts'
import { testFolder } from '../support/temporary-folder.ts'

const folder = testFolder()

bucketConformance('a folder', () => new FolderBucket(join(folder, 'bucket')))

test('a folder holds one file per object, and nothing that was written beside', async () => {
  const place = join(folder, 'tidy')
  const bucket = new FolderBucket(place)
  let tag: string | undefined
  for (let value = 0; value < 4; value++) tag = await bucket.put('a', Uint8Array.of(value), tag)
  await assert.rejects(bucket.put('a', Uint8Array.of(9), '1'), { code: 'STORE_FENCED' })
  assert.deepEqual(readdirSync(place), [`a.${tag}`])
})

test('who was overtaken after it was linked does not hear that nothing was written', async () => {
  const place = join(folder, 'overtaken')
  const bucket = new FolderBucket(place)
  const tag = await bucket.put('a', Uint8Array.of(1), undefined)
  const late = assert.rejects(bucket.put('a', Uint8Array.of(2), tag), { code: 'OUTCOME_UNKNOWN' })
  const isWriting = (): boolean => readdirSync(place).some((name) => name.endsWith('.partial'))
  // It writes and syncs before it links: there is time for another one.
  while (!isWriting()) await new Promise(setImmediate)
  writeFileSync(join(place, 'a.9'), Uint8Array.of(9))
  await late
  assert.deepEqual(await bucket.get('a'), { bytes: Uint8Array.of(9), tag: '9' })
})

test('what a writer has left that was killed is removed by a later one', async () => {
  const place = join(folder, 'deep/er')
  const bucket = new FolderBucket(place)
  const tag = await bucket.put('x/a', Uint8Array.of(1), undefined)
  const [old, current] = ['a.old.partial', 'a.new.partial']
  for (const name of [old, current]) writeFileSync(join(place, 'x', name), 'half')
  const longAgo = new Date(Date.now() - 7_200_000)
  utimesSync(join(place, 'x', old), longAgo, longAgo)
  const next = await bucket.put('x/a', Uint8Array.of(2), tag)
  assert.deepEqual(readdirSync(join(place, 'x')).toSorted(), [`a.${next}`, current])
})

test('no name leads out of the folder', async () => {
  const bucket = new FolderBucket(join(folder, 'walled'))
  for (const key of ['..', '../a', 'a/../../b', '', '.', 'a/']) {
    await assert.rejects(bucket.put(key, Uint8Array.of(1), undefined), { code: 'REQUEST_INVALID' })
    await assert.rejects(bucket.get(key), { code: 'REQUEST_INVALID' })
  }
})
