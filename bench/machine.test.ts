import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { describeCommit, machineFacts, machineLine } from './machine.ts'
import { testFolder } from '../test/support/temporary-folder.ts'

test('a commit with changes is marked, and no git is said to be unknown', () => {
  const answers = (status: string) => (command?: string) =>
    command === 'rev-parse' ? '0123456789' : status
  assert.equal(describeCommit(answers('')), '0123456789')
  assert.equal(describeCommit(answers(' M src/a.ts')), '0123456789+')
  assert.equal(
    describeCommit(() => undefined),
    'unknown',
  )
})

test('the machine line holds what a reader needs, and no file is left behind', () => {
  const folder = testFolder()
  const facts = machineFacts(folder, folder)
  assert.ok(facts.coreCount >= 1)
  assert.ok(facts.fdatasyncMs > 0)
  assert.equal(facts.commit, 'unknown')
  assert.deepEqual(readdirSync(folder), [])
  const line = machineLine({ ...facts, cpu: 'Some CPU', coreCount: 2, memoryBytes: 2 ** 31 })
  assert.match(line, /^2 x Some CPU, 2 GiB, .*node v\d+.*, commit unknown, fdatasync \d/)
  assert.ok(!line.includes(folder))
})
