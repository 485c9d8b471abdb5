import assert from 'node:assert/strict'
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { allocatedBytes, treeMemoryBytes } from './usage.ts'
import { testFolder } from '../test/support/temporary-folder.ts'

test('a folder counts what is allocated, at any depth, and holes not', () => {
  const folder = testFolder()
  assert.equal(allocatedBytes(folder), 0)
  mkdirSync(join(folder, 'a', 'b'), { recursive: true })
  writeFileSync(join(folder, 'a', 'b', 'file'), Buffer.alloc(100_000, 1), { flush: true })
  const bytes = allocatedBytes(folder)
  assert.ok(bytes >= 100_000 && bytes < 200_000, String(bytes))
  writeFileSync(join(folder, 'hole'), '')
  truncateSync(join(folder, 'hole'), 50_000_000)
  assert.ok(allocatedBytes(folder) < 1_000_000)
})

const linuxOnly = process.platform === 'linux' ? false : 'smaps_rollup exists on Linux only'

test('a process tree has memory', { skip: linuxOnly }, () => {
  const bytes = treeMemoryBytes(process.pid)
  assert.ok(bytes > 10_000_000 && bytes < 10_000_000_000, String(bytes))
})
