/**
 * A data folder that another build of the engine has written, of the same major version, under the
 * shipped program: its tenants stand on a template with other contents, which only that folder has.
 */
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Fingerprint, TenantName } from '../../src/base/ids.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { StoreFactory } from '../../src/host/node/store-factory.ts'
import { writeTemplate } from '../../src/host/node/templates.ts'
import { Template } from '../../src/store/template.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { connectPg } from '../support/clients.ts'
import { verifyingEngine } from '../support/image-world.ts'
import { runSql } from '../support/messages.ts'
import { runProgram, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const TENANT = 'old' as TenantName

test('what a former build has written is served, beside tenants of this one', async () => {
  using folder = temporaryFolder()
  const engine = await verifyingEngine()
  const slot = await engine.createSlot()
  const run = (sql: string): void => {
    const { error } = runSql(slot, sql)
    assert.equal(error, undefined, `${sql}: ${error?.message}`)
  }
  // The former build's template: other catalogs, other files, other numbers everywhere.
  const built = TenantFiles.inMemory({ template: engine.template, clock: systemClock })
  slot.boot(built)
  run('create table only_formerly as select i as n from generate_series(1, 1000) i')
  run('vacuum full')
  run('checkpoint')
  slot.shutDown()
  const former = {
    fingerprint: 'f'.repeat(32) as Fingerprint,
    postgresMajor: engine.postgresMajor,
    template: Template.fromFiles(built),
  }
  assert.notEqual(former.template.id, engine.template.id)

  const tenantsPath = join(folder.path, 'tenants')
  mkdirSync(tenantsPath)
  await writeTemplate(folder.path, former.template)
  const tenant = new StoreFactory({
    dataPath: folder.path,
    tenantsPath,
    clock: systemClock,
    engine: former,
    retentionMs: 0,
    createMissing: true,
  }).open(TENANT)
  slot.boot(tenant.files)
  run('create extension pg_trgm; create extension amcheck')
  run(`create table t as select i as n, md5(i::text) as word from generate_series(1, 5000) i`)
  run('create index t_word on t using gin (word gin_trgm_ops); create index t_n on t (n)')
  tenant.files.commit()
  // It is killed: this build recovers it from the former one's WAL.
  slot.unload()
  tenant.close()

  await using server = await startServer({ data: folder.path })
  {
    await using old = await connectPg(server, TENANT)
    assert.equal(await old.value('select count(*)::int from only_formerly'), 1000)
    assert.equal(await old.value('select count(*)::int from t'), 5000)
    assert.equal(await old.value(`select n from t where word = md5('4711')`), 4711)
    await old.client.query(`insert into t values (5001, 'new'); select bt_index_check('t_n', true)`)
    await old.client.query(`select verify_heapam('t')`)
  }
  {
    await using fresh = await connectPg(server, 'fresh')
    assert.equal(await fresh.value(`select to_regclass('only_formerly')`), null)
  }
  // From its image, and from its store alone.
  await server.request(`/v1/tenants/${TENANT}/nap`, { method: 'POST' })
  {
    await using old = await connectPg(server, TENANT)
    assert.equal(await old.value('select max(n) from t'), 5001)
  }
  assert.equal((await server.stop()).status, 0)
  assert.equal(readdirSync(join(folder.path, 'templates')).length, 2)
  const verified = await runProgram(['verify', TENANT, '--data', folder.path])
  assert.equal(verified.status, 0, verified.stderr)
})
