/**
 * `/thin`: an object with the store of its tenant and no Postgres; every statement is run by the
 * compute Worker, which loads from the object and writes to it (`state-object.ts`,
 * `compute-worker.ts`). The object is up at once, however cold it was, and its tenant is warm
 * wherever the compute Worker has it.
 */
import { heard } from '../outcome.ts'
import type { Architecture, Ask, JsonBody, Served } from './architecture.ts'
import { existsAt, type HomeAddress } from './compute.ts'
import { askRemote } from './remote.ts'
import { strategiesIn } from './strategies.ts'

export const thin: Architecture = {
  what: 'an object with a store and no Postgres; the compute Worker runs everything',
  durability:
    'sync, cdc: durable in the object before it is answered; async: the answer tells the risk',
  query,
  exists: ({ environment, tenant }) => existsAt(environment, `thin/${tenant}`),
  status,
}

function addressOf({ tenant }: Ask): HomeAddress {
  return { kind: 'STATES', object: `thin/${tenant}`, tenant }
}

async function query(ask: Ask): Promise<Served> {
  const home = addressOf(ask)
  const state = ask.environment.STATES.getByName(home.object)
  const asked = { ...strategiesIn(ask.url), home, statement: await ask.statement() }
  return askRemote(ask.phases, 'rpc', () => state.query(asked))
}

async function status(ask: Ask): Promise<JsonBody> {
  const { environment } = ask
  const [state, compute] = await Promise.all([
    heard(environment.STATES.getByName(addressOf(ask).object).facts()),
    heard(environment.COMPUTE.facts()),
  ])
  return { tenant: ask.tenant, state, compute }
}
