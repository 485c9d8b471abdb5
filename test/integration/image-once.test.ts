/**
 * An image is used once. Memory may go ahead while the files, and with them the stamp, stay as they
 * are: a sequence hands out 32 numbers per record in the log, a session changes a setting. Whoever
 * used the same image again would repeat what clients were told already.
 */
import assert from 'node:assert/strict'
import { cpSync, existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TenantName } from '../../src/base/ids.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import { ask, ImageWorld, verifyingEngine } from '../support/image-world.ts'
import { testFolder } from '../support/temporary-folder.ts'

async function phaseIs(world: ImageWorld, name: TenantName, phase: string): Promise<void> {
  for (let round = 0; round < 1_000 && world.pool.phaseOf(name) !== phase; round++) {
    await sleep(2)
  }
  assert.equal(world.pool.phaseOf(name), phase, JSON.stringify(world.pool.statistics().images))
}

const folder = testFolder()
let engine: WasmEngine

before(async () => {
  engine = await verifyingEngine()
})

test('numbers of a sequence are never handed out twice, though nothing was written', async () => {
  const first = new ImageWorld({ engine, path: join(folder, 'sequence') })
  first.newTenant('acme')
  await first.ask('acme', 'create sequence s')
  assert.equal(await first.ask('acme', `select nextval('s')`), '1')
  await first.pool.drain()
  const second = first.again()
  assert.equal(await second.ask('acme', `select nextval('s')`), '2')
  assert.equal(second.found.asleep, 1)
  // The machine loses the process here.
  second.copyTo(join(folder, 'sequence-after-kill'))
  const third = first.again({ path: join(folder, 'sequence-after-kill') })
  const next = Number(await third.ask('acme', `select nextval('s')`))
  assert.ok(next > 2, `the next number is ${next}`)
  assert.equal(third.found.cold, 1)
  await Promise.all([second.pool.drain(), third.pool.drain()])
})

test('an image that is being written when its tenant wakes is not kept', async () => {
  const first = new ImageWorld({ engine, path: join(folder, 'race') })
  const name = first.newTenant('acme')
  await first.ask(name, 'create sequence s cache 1')
  await first.pool.drain()
  const second = first.again()
  await second.pool.wake(name)
  second.pool.nap(name)
  // Room for a little less than the one image: it is on its way to disk as soon as it is there.
  const imageCacheBytes = second.pool.statistics().images.bytes * 0.9
  await second.pool.drain()
  const world = first.again({ imageCacheBytes })
  const client = world.pool.connect(name)
  for (let round = 1; round <= 12; round++) {
    const value = await ask(client, `select nextval('s')`)
    assert.equal(value, String(round))
    world.pool.nap(name)
    assert.equal(world.pool.phaseOf(name), 'napping')
    // The tenant is back while its image is being written, or long after.
    if (round % 3 === 0) await phaseIs(world, name, 'asleep')
  }
  assert.ok(world.found.napping > 5 && world.found.asleep > 3, 'both ways were gone')
  assert.equal(await ask(client, `select nextval('s')`), '13')
  world.pool.nap(name)
  assert.equal(await ask(client, `select nextval('s')`), '14')
  await sleep(100)
  assert.equal(world.hasImage(name), false)
  client.close()
  await world.pool.drain()
})

test('a clone of a store that takes its place does not get the image of the other', async () => {
  const first = new ImageWorld({ engine, path: join(folder, 'clone') })
  first.newTenant('acme')
  await first.ask('acme', 'create table t(n int); insert into t values (0)')
  await first.pool.drain()
  cpSync(first.storePath('acme'), first.storePath('beta'))
  const second = first.again()
  await second.ask('acme', 'insert into t values (1)')
  await second.ask('beta', 'insert into t values (1), (2), (3)')
  await second.pool.drain()
  renameSync(second.storePath('beta'), second.storePath('acme'))
  const third = second.again()
  assert.equal(await third.ask('acme', 'select count(*) from t'), '4')
  assert.equal(third.found.cold, 1)
  assert.ok(!existsSync(third.imagePath('acme')))
  await third.pool.drain()
})

test('a store that was written is not pristine, though it was when it was opened', async () => {
  const world = new ImageWorld({ engine, path: join(folder, 'pristine') })
  const opened = world.stores.open(world.newTenant('acme'))
  assert.equal(opened.pristine, true)
  opened.files.create(opened.files.root, 'new', 0o100600)
  opened.files.commit()
  assert.equal(opened.pristine, false)
  opened.close()
  await world.pool.drain()
})
