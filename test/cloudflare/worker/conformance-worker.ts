/** Runs the conformance suites inside of a Durable Object, on its own storage. */
import { DurableObject } from 'cloudflare:workers'
import { DurableSqliteMedium } from '../../../src/host/cloudflare/durable-sqlite-medium.ts'
import type { Medium } from '../../../src/medium/medium.ts'
import { mediumConformance } from '../../conformance/medium.ts'
import { replicaConformance } from '../../conformance/replica.ts'
import { storeConformance } from '../../conformance/store.ts'
import { type Outcome, run } from './test-runner.ts'

const NAME = 'Durable Object SQLite'

interface Environment {
  readonly SUITE: DurableObjectNamespace<SuiteObject>
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

const handler: ExportedHandler<Environment> = {
  async fetch(request: Request, { SUITE }: Environment): Promise<Response> {
    const suite = SUITE.getByName('suite')
    const { pathname } = new URL(request.url)
    if (pathname === '/medium') return Response.json(await suite.runMedium())
    if (pathname === '/replica') return Response.json(await suite.runReplica())
    return Response.json(await suite.runStore())
  },
}
export default handler
