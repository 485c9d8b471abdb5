/**
 * `/consumer`: what an object with a Postgres of its own takes beside the factory, cold and warm
 * (`consumer-object.ts`, `factory.ts`). The two have different tenants of the same name.
 */
import { type PhaseReport, Phases } from '../../../base/phases.ts'
import { workerClock } from '../clock.ts'
import { servedBody } from './answers.ts'
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
        const own = await compared(ask, 'direct', direct)
        const theirs = await compared(ask, 'factory', askFactory)
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
    answer: async (ask): Promise<JsonBody> => {
      // The body comes first, and is nobody's time.
      await ask.statement()
      const phases = new Phases(workerClock)
      const body = servedBody('consumer', ask, await run({ ...ask, phases }))
      ask.phases.include(phases.times())
      return { ...body, timing: phases.report() }
    },
  }
}

/** One of two, with phases of its own: those of both are not added up. */
async function compared(
  ask: Ask,
  name: string,
  run: Run,
): Promise<JsonBody & { readonly timing: PhaseReport }> {
  await ask.statement()
  const phases = new Phases(workerClock)
  const served = await ask.phases.measure(name, () => run({ ...ask, phases }))
  const { architecture: _architecture, tenant: _tenant, ...body } = servedBody(name, ask, served)
  return { ...body, timing: phases.report() }
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
