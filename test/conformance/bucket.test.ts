import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
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

test('no name leads out of the folder', async () => {
  const bucket = new FolderBucket(join(folder, 'walled'))
  for (const key of ['..', '../a', 'a/../../b', '', '.', 'a/']) {
    await assert.rejects(bucket.put(key, Uint8Array.of(1), undefined), { code: 'REQUEST_INVALID' })
    await assert.rejects(bucket.get(key), { code: 'REQUEST_INVALID' })
  }
})
