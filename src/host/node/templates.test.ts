import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { PgnapError } from '../../base/errors.ts'
import { utf8 } from '../../base/bytes.ts'
import type { Fingerprint, TenantName } from '../../base/ids.ts'
import { Template } from '../../store/template.ts'
import { TenantFiles } from '../../store/tenant-files.ts'
import { systemClock } from './clock.ts'
import { StoreFactory, type StoreFactoryOptions } from './store-factory.ts'
import { TemplateShelf, writeTemplate } from './templates.ts'
import { watchSyncs } from '../../../test/support/synced-folders.ts'
import { testFolder } from '../../../test/support/temporary-folder.ts'

const dataPath = testFolder()
mkdirSync(join(dataPath, 'templates'))
mkdirSync(join(dataPath, 'tenants'))

/** A cluster of one file, as some build of the engine might have made it. */
const templateWith = (content: string): Template => {
  const files = TenantFiles.inMemory({ template: Template.empty(), clock: systemClock })
  const bytes = utf8(content)
  files.write(files.create(files.root, 'PG_VERSION', 0o100600), bytes, 0, bytes.length, 0)
  return Template.fromFiles(files)
}

const keep = (template: Template): void =>
  writeFileSync(join(dataPath, 'templates', `${template.id}.bin`), template.serialize())

const factoryOf = (template: Template, postgresMajor = 18): StoreFactory => {
  const options: StoreFactoryOptions = {
    dataPath,
    tenantsPath: join(dataPath, 'tenants'),
    clock: systemClock,
    engine: { fingerprint: template.id as Fingerprint, postgresMajor, template },
    retentionMs: 0,
    createMissing: true,
  }
  return new StoreFactory(options)
}

const contentOf = (factory: StoreFactory, tenant: string): string => {
  const open = factory.open(tenant as TenantName)
  try {
    const file = open.files.lookup(open.files.root, 'PG_VERSION')
    assert.ok(file)
    const bytes = new Uint8Array(file.size)
    open.files.read(file, bytes, 0, bytes.length, 0)
    return new TextDecoder().decode(bytes)
  } finally {
    open.close()
  }
}

test('a store opens under a later engine, on the template it was made on', () => {
  const older = templateWith('made by the older build')
  const newer = templateWith('made by the newer build')
  keep(older)
  factoryOf(older).create('old' as TenantName)
  assert.equal(contentOf(factoryOf(newer), 'old'), 'made by the older build')
  assert.equal(contentOf(factoryOf(newer), 'new'), 'made by the newer build')
})

const mismatch = (error: unknown): boolean => {
  assert.ok(error instanceof PgnapError)
  assert.equal(error.code, 'STORE_ENGINE_MISMATCH')
  assert.match(String(error.hint), /: pgnap restore /)
  return true
}

test('another major version of Postgres, or a template nobody has, is refused by name', () => {
  const lost = templateWith('a template that nobody kept')
  factoryOf(lost).create('lost' as TenantName)
  const other = templateWith('another')
  assert.throws(() => contentOf(factoryOf(other), 'lost'), mismatch)
  assert.throws(() => contentOf(factoryOf(lost, 19), 'lost'), mismatch)
})

test('a shelf gives nothing for an id that is no id, and notices a damaged template', () => {
  const own = templateWith('own')
  const shelf = new TemplateShelf(dataPath, own)
  assert.equal(shelf.get(own.id), own)
  assert.equal(shelf.get('../tenants/old.db'), undefined)
  const damaged = templateWith('damaged')
  const bytes = damaged.serialize()
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1
  writeFileSync(join(dataPath, 'templates', `${damaged.id}.bin`), bytes)
  assert.throws(() => shelf.get(damaged.id), PgnapError)
})

test('a template that is kept is there after the end of the machine', async (context) => {
  const synced = watchSyncs(context)
  const path = testFolder()
  const template = templateWith('kept')
  await writeTemplate(path, template)
  assert.ok(synced(path) && synced(join(path, 'templates')))
  assert.equal(new TemplateShelf(path, Template.empty()).get(template.id)?.id, template.id)
})

test('a template under the name of another is not taken for that', () => {
  const other = templateWith('other')
  const wanted = templateWith('wanted')
  keep(other)
  const pathOf = ({ id }: Template): string => join(dataPath, 'templates', `${id}.bin`)
  copyFileSync(pathOf(other), pathOf(wanted))
  const shelf = new TemplateShelf(dataPath, templateWith('own'))
  assert.equal(shelf.get(wanted.id), undefined)
  assert.equal(shelf.get(other.id)?.id, other.id)
})
