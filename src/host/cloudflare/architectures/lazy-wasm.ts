/**
 * `/lazy-wasm`: an object without compiled code, which fetches it when it is first asked and
 * delegates until it has it (seed 002). On Workers that is for ever; see `lazy-object.ts`.
 */
import { heard, resultOf } from '../outcome.ts'
import type { Architecture, Ask, JsonBody, Served } from './architecture.ts'
import type { HomeAddress } from './compute.ts'
import { delaysOf } from './isolate-delays.ts'
import { askRemote } from './remote.ts'
import { strategiesIn } from './strategies.ts'

export const lazyWasm: Architecture = {
  what:
    'an object that tries to fetch and compile Postgres while the compute Worker answers; ' +
    'Workers compile nothing at run time, so it fails and delegates for ever',
  durability: 'as /thin: durable in the object before it is answered',
  query,
  exists: async ({ environment, tenant }) =>
    (await heard(environment.LAZIES.getByName(tenant).facts())).exists,
  status,
  endpoints: {
    'force-load': {
      method: 'POST',
      what: 'loads it now and waits how that ends: in failed, on Workers',
      answer: forceLoad,
    },
  },
}

function addressOf({ tenant }: Ask): HomeAddress {
  return { kind: 'LAZIES', object: tenant, tenant }
}

async function query(ask: Ask): Promise<Served> {
  const home = addressOf(ask)
  const object = ask.environment.LAZIES.getByName(home.object)
  const asked = { ...strategiesIn(ask.url), home, statement: await ask.statement() }
  return askRemote(ask.phases, 'rpc', () => object.query(asked))
}

async function forceLoad(ask: Ask): Promise<JsonBody> {
  const object = ask.environment.LAZIES.getByName(addressOf(ask).object)
  const wasm = await ask.phases.measure('rpc', () => heard(object.forceLoad()))
  return { architecture: 'lazy-wasm', tenant: ask.tenant, wasm }
}

async function status(ask: Ask): Promise<JsonBody> {
  const { environment, tenant } = ask
  const object = environment.LAZIES.getByName(addressOf(ask).object)
  const { store, ...wasm } = await heard(object.lazyFacts())
  const delegatesTo = await heard(environment.COMPUTE.facts())
  const syncDelay = delaysOf('lazy-wasm').facts()
  return { tenant, wasm, store: resultOf(store), delegatesTo, syncDelay }
}
