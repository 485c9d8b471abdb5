/**
 * Copies on a disk that takes no more: a limit on the size of files, which the system enforces, is
 * put on this process where SQLite is about to bring a log into its file. Closing tells nothing of
 * that.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, beforeEach, describe, test } from 'node:test'
import type { Fingerprint, TenantName } from '../../../base/ids.ts'
import { silentLog } from '../../../base/log.ts'
import { Pool } from '../../../pool/pool.ts'
import type { Store } from '../../../store/store.ts'
import { Template } from '../../../store/template.ts'
import { FakeEngine } from '../../../../test/support/fake-shard.ts'
import { temporaryFolder } from '../../../../test/support/temporary-folder.ts'
import { systemClock as clock } from '../clock.ts'
import { CopyFolder } from '../copy-folder.ts'
import { systemRandom } from '../random.ts'
import { StoreFactory } from '../store-factory.ts'
import { TenantCopies } from './tenant-copies.ts'

const acme = 'acme' as TenantName
const FILE_BYTES = 262_144
const skip = spawnSync('prlimit', ['--version']).error ? 'prlimit is not here' : false

const folder = temporaryFolder()
const tenantsPath = join(folder.path, 'tenants')
const path = join(tenantsPath, 'acme.db')
let pool: Pool
let stores: StoreFactory
before(() => {
  mkdirSync(tenantsPath)
  stores = new StoreFactory({
    dataPath: folder.path,
    tenantsPath,
    clock,
    engine: { fingerprint: 'test' as Fingerprint, postgresMajor: 18, template: Template.empty() },
    retentionMs: 0,
    createMissing: true,
  })
  pool = new Pool({ engine: new FakeEngine(), source: stores, clock, log: silentLog })
  // At rest already: nothing is asked of the engine.
  pool.pauses.pause(acme)
  write('first')
})
after(async () => {
  await pool.drain(0)
  folder[Symbol.dispose]()
})
/** The soft one, which a process may raise again. */
function limitFiles(bytes: number | 'unlimited'): void {
  const { status } = spawnSync('prlimit', ['--pid', `${process.pid}`, `--fsize=${bytes}:`])
  assert.equal(status, 0)
}

/** @param beforeClosed called when the store is complete, and its log not in its file */
function write(name: string, beforeClosed: () => void = () => {}): void {
  const open = stores.open(acme)
  const inode = open.files.create(open.files.root, name, 0o100600)
  open.files.write(inode, systemRandom.bytes(FILE_BYTES), 0, FILE_BYTES, 0)
  open.files.commit()
  beforeClosed()
  open.close()
}

/** Copies; what becomes of the copy is seen before it goes. */
function copy(openCopy = (at: string): Store => stores.openCopy(at)): Promise<boolean> {
  const faulty = {
    exists: (tenant: TenantName) => stores.exists(tenant),
    keeping: <R>(tenant: TenantName, body: () => Promise<R>) => stores.keeping(tenant, body),
    openStore: (tenant: TenantName) => stores.openStore(tenant),
    pathOf: (tenant: TenantName) => stores.pathOf(tenant),
    openCopy,
  }
  const copies = new TenantCopies({ pool, stores: faulty, clock })
  return new CopyFolder(tenantsPath).lend(async (to) => {
    await copies.copy(acme, to, {})
    using store = stores.openCopy(to)
    return store.verify().length === 0
  })
}

async function refusedWith(copied: Promise<boolean>): Promise<unknown> {
  const failure: unknown = await copied.then(
    () => undefined,
    (error: unknown) => error,
  )
  limitFiles('unlimited')
  assert.deepEqual(existsSync(join(tenantsPath, 'copies', '0.db')), false)
  return (failure as { code?: unknown } | undefined)?.code
}

describe('copies of a tenant', () => {
  beforeEach(() => limitFiles('unlimited'))
  // Whoever shares the process with it would write into the same limit.
  after(() => limitFiles('unlimited'))

  test('a log that does not come into the file of the original is no copy', { skip }, async () => {
    const crashed = ['', '-wal'].map((suffix) => [`${path}${suffix}`, `${path}${suffix}.kept`])
    write('second', () => {
      for (const [from = '', to = ''] of crashed) copyFileSync(from, to)
    })
    for (const [to = '', from = ''] of crashed) copyFileSync(from, to)
    limitFiles(statSync(path).size)
    assert.equal(await refusedWith(copy()), 'STORE_IO')
    assert.equal(await copy(), true, 'with room again')
  })

  test('a log that does not come into the file of the copy is no copy', { skip }, async () => {
    const lastPages = (to: string): Store => {
      const store = stores.openCopy(to)
      const compact = store.compact.bind(store)
      store.compact = (bytesMax) => {
        const freed = compact(bytesMax)
        if (freed === 0) limitFiles(8192)
        return freed
      }
      return store
    }
    assert.equal(await refusedWith(copy(lastPages)), 'STORE_IO')
    assert.equal(await copy(), true, 'with room again')
  })

  test('while anybody wants a tenant as it is, opening makes no other of its name', async () => {
    const gone = 'gone' as TenantName
    const unknown = { code: 'TENANT_UNKNOWN' }
    const remove = (): void => rmSync(stores.pathOf(gone))
    await assert.rejects(
      stores.keeping(gone, async () => {}),
      unknown,
    )
    stores.open(gone).close()
    await stores.keeping(gone, async () => {
      await stores.keeping(gone, async () => stores.open(gone).close())
      remove()
      assert.throws(() => stores.open(gone), unknown)
      assert.equal(stores.exists(gone), false)
    })
    stores.open(gone).close()
    assert.equal(stores.exists(gone), true)
  })
})
