import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DatabaseSight, madeUpId } from './database-sight.ts'

test('ids are made of names: the same for each, beyond those of a cluster, and found again', () => {
  const names = Array.from({ length: 5_000 }, (_, index) => `tenant-${index}`)
  const ids = names.map(madeUpId)
  assert.deepEqual(names.map(madeUpId), ids)
  assert.equal(new Set(ids).size, names.length)
  assert.ok(ids.every((id) => id >= 2 ** 31 && id < 2 ** 32))
  const sight = new DatabaseSight({ names: () => names, bytesOf: () => undefined })
  assert.equal(sight.nameOf(madeUpId('tenant-77')), 'tenant-77')
  assert.equal(sight.nameOf(madeUpId('nobody')), undefined)
  assert.equal(sight.nameOf(5), undefined)
})

test('nobody is asked for names before somebody looks, and then once', () => {
  let asked = 0
  const names = (): string[] => {
    asked++
    return ['acme']
  }
  const sight = new DatabaseSight({ names, bytesOf: () => 7 })
  assert.equal(sight.bytesOf('acme'), 7)
  assert.equal(sight.nameOf(16_384), undefined)
  assert.equal(asked, 0)
  assert.deepEqual([sight.names, sight.names], [['acme'], ['acme']])
  assert.equal(asked, 1)
})
