/**
 * `/ws`: a router that holds a WebSocket to one compute object for everybody, which sleeps while
 * nobody asks (`router-object.ts`, `compute-object.ts`); when it drops, a call takes its place. The
 * answer's `way` says which it was. Tenants' stores are in objects of their own.
 */
import { heard } from '../outcome.ts'
import type { Architecture, Ask, JsonBody, Served } from './architecture.ts'
import { type ComputeRequest, existsAt } from './compute.ts'
import { askRemote } from './remote.ts'
import { strategiesIn } from './strategies.ts'

const ROUTER_NAME = 'router'

export const ws: Architecture = {
  what: 'a router holds a WebSocket to one compute object for all; by a call when it drops',
  durability:
    'sync, cdc: durable in the tenant’s own object before it is answered; async: the answer tells',
  query,
  exists: ({ environment, tenant }) => existsAt(environment, `ws/${tenant}`),
  status,
}

async function query(ask: Ask): Promise<Served> {
  const { environment, tenant, url, phases } = ask
  const home = { kind: 'STATES', object: `ws/${tenant}`, tenant } as const
  const statement = await ask.statement()
  const request: ComputeRequest = { ...strategiesIn(url), home, statement }
  return askRemote(phases, 'router', () =>
    environment.ROUTERS.getByName(ROUTER_NAME).query(request),
  )
}

async function status({ environment, tenant }: Ask): Promise<JsonBody> {
  const [router, state] = await Promise.all([
    heard(environment.ROUTERS.getByName(ROUTER_NAME).facts()),
    heard(environment.STATES.getByName(`ws/${tenant}`).facts()),
  ])
  return { tenant, router, state }
}
