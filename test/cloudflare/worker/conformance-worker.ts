/**
 * Runs the conformance suites inside of a Durable Object, on its own storage, and of a Worker, on
 * R2.
 */
import { DurableObject } from 'cloudflare:workers'
import { DurableSqliteMedium } from '../../../src/host/cloudflare/durable-sqlite-medium.ts'
import { silentLog } from '../../../src/base/log.ts'
import { SyncDelayMonitor } from '../../../src/base/sync-delay.ts'
import { workerClock } from '../../../src/host/cloudflare/clock.ts'
import { R2ObjectBucket } from '../../../src/host/cloudflare/r2-bucket.ts'
import { theSqlJs } from '../../../src/host/cloudflare/sql-js.ts'
import { SqlJsMedium } from '../../../src/host/sql-js-medium.ts'
import type { Medium } from '../../../src/medium/medium.ts'
import { bucketConformance } from '../../conformance/bucket.ts'
import { mediumConformance } from '../../conformance/medium.ts'
import { replicaConformance } from '../../conformance/replica.ts'
import { storeConformance } from '../../conformance/store.ts'
import { type Outcome, run } from './test-runner.ts'

const NAME = 'Durable Object SQLite'

interface Environment {
  readonly SUITE: DurableObjectNamespace<SuiteObject>
  readonly BUCKET: R2Bucket
}

export class SuiteObject extends DurableObject<Environment> {
  runMedium(): Promise<Outcome[]> {
    const open = (): Medium => this.#open()
    const place = { open: () => this.#empty(), reopen: open, givesBack: false }
    return run(() => mediumConformance(NAME, () => place))
  }

  runStore(): Promise<Outcome[]> {
    // Each statement crosses from JavaScript into the platform: ten times what it takes on Node.
    const effort = { histories: 4, faultEvery: 12 }
    return run(() => storeConformance(NAME, () => ({ open: this.#place() }), effort))
  }

  /** Homes whose stores are here; the computes are where the suite is. */
  runReplica(): Promise<Outcome[]> {
    const newPlace = (): { open: () => Medium } => ({ open: this.#place() })
    const effort = { histories: 3 }
    return run(() => {
      for (const load of ['snapshot', 'delta', 'image'] as const) {
        for (const write of ['sync', 'cdc', 'async'] as const) {
          replicaConformance(NAME, newPlace, { load, write }, effort)
        }
      }
      replicaConformance(NAME, newPlace, { load: 'lazy', write: 'sync' }, effort)
    })
  }

  #open(): Medium {
    return new DurableSqliteMedium(this.ctx.storage)
  }

  /** Nothing of the one before is left. */
  #empty(): Medium {
    const { sql } = this.ctx.storage
    const tables = sql.exec("SELECT name FROM sqlite_master WHERE type = 'table'").toArray()
    for (const { name } of tables)
      if (!String(name).startsWith('_cf')) sql.exec(`DROP TABLE ${name}`)
    return this.#open()
  }

  /** Empty when it is opened first. */
  #place(): () => Medium {
    let opened = false
    return () => {
      if (opened) return this.#open()
      opened = true
      return this.#empty()
    }
  }
}

let keys = 0

/** One object of R2, another one for each place. */
function r2Place(bucket: R2Bucket): {
  readonly open: () => Promise<SqlJsMedium>
  readonly settle: (medium: Medium) => Promise<void>
} {
  const key = `${keys++}/database.sqlite`
  const clock = workerClock
  const monitor = new SyncDelayMonitor({ clock, log: silentLog })
  const open = async (): Promise<SqlJsMedium> =>
    SqlJsMedium.open({
      sqlJs: await theSqlJs(),
      bucket: new R2ObjectBucket(bucket),
      key,
      clock,
      monitor,
    })
  return {
    open,
    settle: async (medium) => {
      if (medium instanceof SqlJsMedium) await medium.settled()
    },
  }
}

const SUITES: Readonly<Record<string, (environment: Environment) => Promise<Outcome[]>>> = {
  '/medium': ({ SUITE }) => SUITE.getByName('suite').runMedium(),
  '/store': ({ SUITE }) => SUITE.getByName('suite').runStore(),
  '/replica': ({ SUITE }) => SUITE.getByName('suite').runReplica(),
  '/bucket': ({ BUCKET }) => run(() => bucketConformance('R2', () => new R2ObjectBucket(BUCKET))),
  '/medium-r2': ({ BUCKET }) =>
    run(() =>
      mediumConformance('sql.js over R2', () => {
        const { open, settle } = r2Place(BUCKET)
        return { open, reopen: open, settle }
      }),
    ),
  '/store-r2': ({ BUCKET }) =>
    run(() =>
      storeConformance('sql.js over R2', () => r2Place(BUCKET), { histories: 3, faultEvery: 20 }),
    ),
}

const handler: ExportedHandler<Environment> = {
  async fetch(request: Request, environment: Environment): Promise<Response> {
    return Response.json(await SUITES[new URL(request.url).pathname]?.(environment))
  },
}
export default handler
