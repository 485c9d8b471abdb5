/**
 * `/traditional`: an object per tenant with a Postgres of its own, whose code is bound when the
 * Worker starts; see `traditional-object.ts`. What everything else is compared with.
 */
import type { Statement } from '../../../front/control.ts'
import { heard } from '../outcome.ts'
import type { Architecture, Ask, JsonBody, Served } from './architecture.ts'
import { servedBody } from './answers.ts'
import { askRemote } from './remote.ts'
import { onlyAtHome } from './strategies.ts'
import type { TraditionalFacts } from './traditional-object.ts'

export const traditional: Architecture = {
  what: 'an object per tenant with a Postgres of its own, code bound at the start',
  durability: 'durable before it is answered: committed in the object, held by its output gate',
  query,
  exists: async ({ environment, tenant }) =>
    (await heard(environment.TRADITIONALS.getByName(tenant).facts())).exists,
  status,
  endpoints: {
    'cold-start': {
      method: 'POST',
      what: 'the statement in an object that is made for it and removed after it',
      answer: coldStart,
    },
  },
}

async function query({ environment, tenant, url, phases, statement }: Ask): Promise<Served> {
  onlyAtHome(url)
  const asked = await statement()
  const object = environment.TRADITIONALS.getByName(tenant)
  return askRemote(phases, 'rpc', () => object.query(tenant, asked))
}

async function coldStart(ask: Ask): Promise<JsonBody> {
  const { environment, tenant, url, phases } = ask
  onlyAtHome(url)
  const asked: Statement = await ask.statement()
  const { TRADITIONALS } = environment
  const object = TRADITIONALS.get(TRADITIONALS.newUniqueId())
  const served = await askRemote(phases, 'rpc', () => object.queryOnce(tenant, asked))
  return { ...servedBody('traditional', ask, served), timing: phases.report() }
}

async function status({ environment, tenant }: Ask): Promise<JsonBody> {
  const object = environment.TRADITIONALS.getByName(tenant)
  const facts: TraditionalFacts = await heard(object.facts())
  return { tenant, ...facts }
}
