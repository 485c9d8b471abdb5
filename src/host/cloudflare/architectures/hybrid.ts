/**
 * `/hybrid`: an object with its store and a Postgres of its own, which answers through the compute
 * Worker until that is warm (`hybrid-object.ts`). `servedBy` says who it was.
 */
import { heard } from '../outcome.ts'
import type { Architecture, Ask, JsonBody, Served } from './architecture.ts'
import type { HomeAddress } from './compute.ts'
import { askRemote } from './remote.ts'
import { strategiesIn } from './strategies.ts'

export const hybrid: Architecture = {
  what: 'an object with a Postgres of its own; until that is warm, the compute Worker answers',
  durability:
    'durable before it is answered; async, by the compute: the answer tells what may be lost',
  query,
  exists: async ({ environment, tenant }) =>
    (await heard(environment.HYBRIDS.getByName(tenant).facts())).exists,
  status,
}

async function query(ask: Ask): Promise<Served> {
  const { environment, tenant, phases, url } = ask
  const home: HomeAddress = { kind: 'HYBRIDS', object: tenant, tenant }
  const asked = { ...strategiesIn(url), home, statement: await ask.statement() }
  const object = environment.HYBRIDS.getByName(home.object)
  return askRemote(phases, 'rpc', () => object.query(asked))
}

async function status({ environment, tenant }: Ask): Promise<JsonBody> {
  const [object, compute] = await Promise.all([
    heard(environment.HYBRIDS.getByName(tenant).facts()),
    heard(environment.COMPUTE.facts()),
  ])
  return { tenant, object, compute }
}
