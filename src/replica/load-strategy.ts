/**
 * How a compute comes to have a tenant's state, when it has not got it as the home has it now:
 *
 *     strategy   keeps               fetches
 *     snapshot   nothing             everything
 *     delta      rows                what has moved since; everything if that is not known
 *     image      rows and memory     as delta; nothing if nothing has moved
 *     lazy       -                   each page when Postgres reads it
 *
 * The first three work over calls. `lazy` does not: Postgres reads a page in the middle of a
 * statement, and nothing can be waited for there. It is for a compute that is where the store is.
 * A tenant that is in the slot, at the stamp of its home, is asked at once under any of them.
 */
import type { Home } from './home.ts'
import { fetchAll, type Fetched } from './fetch.ts'
import type { Replica } from './replica.ts'

export type LoadName = 'snapshot' | 'delta' | 'image' | 'lazy'

export interface LoadStrategy {
  readonly name: Exclude<LoadName, 'lazy'>
  /** Rows are kept when the tenant has left the slot, within the room that there is. */
  readonly keepsRows: boolean
  /** So is the memory of Postgres. */
  readonly keepsMemory: boolean
  /**
   * What `kept` lacks, or all of it.
   * @param kept the rows of before, if there are any
   */
  fetch(home: Home, kept: Replica | undefined): Promise<Fetched>
}

const known = (kept: Replica | undefined): { readonly known?: string } =>
  kept ? { known: kept.base.stamp } : {}
const fetchChanges: LoadStrategy['fetch'] = (home, kept) => fetchAll(home, known(kept))

export const LOAD_STRATEGIES: Readonly<Record<LoadStrategy['name'], LoadStrategy>> = {
  snapshot: {
    name: 'snapshot',
    keepsRows: false,
    keepsMemory: false,
    fetch: (home, kept) => fetchAll(home, { ...known(kept), whole: true }),
  },
  delta: { name: 'delta', keepsRows: true, keepsMemory: false, fetch: fetchChanges },
  image: { name: 'image', keepsRows: true, keepsMemory: true, fetch: fetchChanges },
}

/** What it took to have the state of the home. */
export interface LoadReport {
  readonly strategy: LoadName
  /** `none`: it was known without asking. The others: what the home has sent. */
  readonly how: 'none' | Fetched['kind']
  readonly rowCount: number
  readonly byteLength: number
  readonly sliceCount: number
}
