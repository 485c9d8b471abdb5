/**
 * `/consumer`: what an object with a Postgres of its own takes beside the factory, cold and warm
 * (`consumer-object.ts`, `factory.ts`). The two have different tenants of the same name.
 */
import { Phases } from '../../../base/phases.ts'
import { workerClock } from '../clock.ts'
import type { Architecture, Ask, Endpoint, JsonBody, Served } from './architecture.ts'
import { askFactory, factoryRequest } from './factory.ts'
import { askRemote } from './remote.ts'

export const consumer: Architecture = {
  what: 'an object with a Postgres of its own beside the factory, to compare the two',
  durability: 'durable before it is answered; by the factory: as of /factory',
  endpoints: {
    direct: endpoint('runs one statement in its own object', direct),
    factory: endpoint('runs one statement in the factory', askFactory),
    'cold-direct': endpoint('the first, in an object that was never there before', coldDirect),
    'cold-factory': endpoint('the second, likewise', coldFactory),
    compare: {
      method: 'POST',
      what: 'runs one statement in both, one after the other',
      answer: async (ask) => {
        const own = await measured(ask, direct)
        const theirs = await measured(ask, askFactory)
        const [directMs, factoryMs] = [own.timing.totalMs, theirs.timing.totalMs]
        return {
          architecture: 'consumer',
          tenant: ask.tenant,
          direct: own,
          factory: theirs,
          difference: {
            ms: directMs - factoryMs,
            faster: directMs <= factoryMs ? 'direct' : 'factory',
          },
        }
      },
    },
  },
}

type Run = (ask: Ask) => Promise<Served>

function endpoint(what: string, run: Run): Endpoint {
  return {
    method: 'POST',
    what,
    answer: async (ask): Promise<JsonBody> => ({
      architecture: 'consumer',
      tenant: ask.tenant,
      ...(await measured(ask, run)),
    }),
  }
}

/** With phases of its own: two that are compared are not added up. */
async function measured(
  ask: Ask,
  run: Run,
): Promise<JsonBody & { readonly timing: ReturnType<Phases['report']> }> {
  // The body comes first, and is nobody's time.
  await ask.statement()
  const phases = new Phases(workerClock)
  const { result, servedBy, notes } = await run({ ...ask, phases })
  const { rows, rowCount, command } = result
  return { servedBy, ...notes, command, rowCount, rows, timing: phases.report() }
}

async function direct(ask: Ask): Promise<Served> {
  const asked = { tenant: ask.tenant, statement: await ask.statement() }
  const object = ask.environment.CONSUMERS.getByName(ask.tenant)
  return askRemote(ask.phases, 'rpc', () => object.query(asked))
}

async function coldDirect(ask: Ask): Promise<Served> {
  const asked = { tenant: ask.tenant, statement: await ask.statement() }
  const { CONSUMERS } = ask.environment
  const object = CONSUMERS.get(CONSUMERS.newUniqueId())
  return askRemote(ask.phases, 'rpc', () => object.coldQuery(asked))
}

async function coldFactory(ask: Ask): Promise<Served> {
  const request = await factoryRequest(ask)
  return askRemote(ask.phases, 'rpc', () => ask.environment.FACTORY.coldQuery(request))
}
