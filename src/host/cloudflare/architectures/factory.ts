/**
 * `/factory`: one compute object that is kept warm, behind a Worker of its own, for tenants whose
 * stores are elsewhere (`compute-object.ts`, `factory-worker.ts`, `state-object.ts`). Seed 001
 * hoped that whoever is cold is served by one that is warm; so it is, at the price of a call.
 */
import { heard, reached } from '../outcome.ts'
import { servedBody } from './answers.ts'
import type { Architecture, Ask, JsonBody, Served } from './architecture.ts'
import { type ComputeRequest, existsAt } from './compute.ts'
import { askRemote } from './remote.ts'
import { strategiesIn } from './strategies.ts'

export const factory: Architecture = {
  what: 'one compute object that is kept warm, behind a Worker of its own, over a service binding',
  durability:
    'sync, cdc: durable in the tenant’s own object before it is answered; async: the answer tells',
  query: askFactory,
  exists: ({ environment, tenant }) => existsAt(environment, `factory/${tenant}`),
  status,
  endpoints: {
    ping: {
      method: 'GET',
      what: 'whether the factory Worker is there',
      answer: async ({ environment, phases }) => ({
        architecture: 'factory',
        pong: (await phases.measure('rpc', () => reached(environment.FACTORY.ping()))) === 'pong',
        phases: phases.times(),
      }),
    },
    warmup: {
      method: 'POST',
      what: 'has a slot ready in the factory',
      answer: async ({ environment, phases }) => {
        const facts = await phases.measure('rpc', () => heard(environment.FACTORY.warmUp()))
        return { architecture: 'factory', factory: facts, timing: phases.report() }
      },
    },
    'cold-start': {
      method: 'POST',
      what: 'runs one statement in a factory object that was never there before',
      answer: async (ask) => {
        const request = await factoryRequest(ask)
        const { phases, environment } = ask
        const served = await askRemote(phases, 'rpc', () => environment.FACTORY.coldQuery(request))
        return { ...servedBody('factory', ask, served), timing: phases.report() }
      },
    },
  },
}

/** Of this architecture's tenants; used by `/consumer` too. */
export async function factoryRequest(ask: Ask): Promise<ComputeRequest> {
  const { tenant, url } = ask
  const home = { kind: 'STATES', object: `factory/${tenant}`, tenant } as const
  return { ...strategiesIn(url), home, statement: await ask.statement() }
}

export async function askFactory(ask: Ask): Promise<Served> {
  const request = await factoryRequest(ask)
  return askRemote(ask.phases, 'rpc', () => ask.environment.FACTORY.query(request))
}

async function status({ environment, tenant }: Ask): Promise<JsonBody> {
  const [factoryFacts, state] = await Promise.all([
    heard(environment.FACTORY.facts()),
    heard(environment.STATES.getByName(`factory/${tenant}`).facts()),
  ])
  return { tenant, factory: factoryFacts, state }
}
