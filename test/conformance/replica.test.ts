import { NodeSqliteMedium } from '../../src/host/node/sqlite-medium.ts'
import { FaultyMedium } from '../../src/medium/faulty-medium.ts'
import type { HomePlace } from '../support/replica-world.ts'
import { replicaConformance } from './replica.ts'

/** Closing would forget; what is opened again is the store, on a medium that stays. */
class KeptMedium extends FaultyMedium {
  override [Symbol.dispose](): void {}
}

const newPlace = (): HomePlace => {
  const medium = NodeSqliteMedium.inMemory()
  return { open: () => new KeptMedium(medium) }
}

for (const load of ['snapshot', 'delta', 'image'] as const) {
  for (const write of ['sync', 'cdc', 'async'] as const) {
    replicaConformance('node:sqlite in memory', newPlace, { load, write })
  }
}
replicaConformance('node:sqlite in memory', newPlace, { load: 'lazy', write: 'sync' })
