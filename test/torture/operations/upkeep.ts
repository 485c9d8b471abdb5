/** Operations that rewrite and move what is there without changing it. */
import type { Session } from '../session.ts'
import type { Operation } from './operation.ts'
import { someTable } from './rows.ts'

/** HTTP status of a nap while a client has a transaction open. */
const BUSY = 409

/** An operation of one statement about one table. */
function upkeep(name: string, weight: number, sql: (session: Session) => string): Operation {
  return {
    name,
    weight,
    run: async (session) => {
      await session.run(sql(session))
    },
  }
}

/** Takes the tenant out of its slot under its clients. */
const nap: Operation = {
  name: 'nap',
  weight: 4,
  run: async (session) => {
    const { status, text } = await session.post('nap', {})
    session.demand(status === 200 || status === BUSY, `a nap is answered with ${text}`, status)
  },
}

export const UPKEEP_OPERATIONS: readonly Operation[] = [
  upkeep('checkpoint', 4, () => 'checkpoint'),
  upkeep('vacuum', 3, (session) => `vacuum ${someTable(session).name}`),
  upkeep('vacuumFull', 1, (session) => `vacuum full ${someTable(session).name}`),
  upkeep('vacuumFreeze', 1, (session) => `vacuum (freeze, analyze) ${someTable(session).name}`),
  upkeep('analyze', 2, (session) => `analyze ${someTable(session).name}`),
  upkeep('reindex', 1, (session) => `reindex table ${someTable(session).name}`),
  nap,
]
