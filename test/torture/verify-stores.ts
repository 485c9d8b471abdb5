/**
 * Store.verify() on every store of a data folder whose server is dead. It works on a copy: opening
 * a store recovers SQLite's log, and that is what the server under torture must do by itself.
 */
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { TenantName } from '../../src/base/ids.ts'
import { parseVerifiedAssets } from '../../src/engine/engine-assets.ts'
import { POSTGRES_MAJOR } from '../../src/engine/recipe.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { assetsIn } from '../../src/host/node/engine/sparse-file.ts'
import { StoreFactory, type StoreFactoryOptions } from '../../src/host/node/store-factory.ts'
import { tenantOfFile } from '../../src/host/node/tenant-files-on-disk.ts'

/** What stores need to know of the engine that wrote them. */
export type StoreEngine = StoreFactoryOptions['engine']

/** The engine of this checkout, without the part that runs. */
export async function storeEngine(): Promise<StoreEngine> {
  const { assets } = await loadEngineParts()
  const { fingerprint, template } = parseVerifiedAssets(assetsIn(assets))
  return { fingerprint, postgresMajor: POSTGRES_MAJOR, template }
}

export interface Verification {
  readonly problems: readonly string[]
  readonly storeCount: number
}

/** Copies `data` to `copy` and verifies every store there. The copy stays as evidence. */
export function verifyStores(data: string, copy: string, engine: StoreEngine): Verification {
  rmSync(copy, { recursive: true, force: true })
  const tenantsPath = join(copy, 'tenants')
  // A server that was killed early enough has not made the folder yet.
  if (!existsSync(join(data, 'tenants'))) return { problems: [], storeCount: 0 }
  cpSync(data, copy, { recursive: true })
  const factory = new StoreFactory({
    dataPath: copy,
    tenantsPath,
    clock: systemClock,
    engine,
    retentionMs: 0,
    createMissing: false,
  })
  const tenants = readdirSync(tenantsPath).flatMap((file) => tenantOfFile(file) ?? [])
  const problems = tenants.flatMap((tenant) => verifyStore(factory, tenant))
  return { problems, storeCount: tenants.length }
}

function verifyStore(factory: StoreFactory, tenant: TenantName): readonly string[] {
  try {
    using store = factory.openStore(tenant)
    return store.verify().map((problem) => `store ${tenant}: ${problem}`)
  } catch (error) {
    return [`store ${tenant} cannot be read: ${String(error)}`]
  }
}
