/**
 * The Worker of the comparison as it is deployed, with two doors for whoever measures: many
 * statements, or many bare pings of an object, in one request. What is taken from outside for so
 * many, less what it is for as many pings, is what an architecture takes for one.
 */
import { DurableObject } from 'cloudflare:workers'
import type { BenchRequest } from '../bench-request.ts'
import { Phases } from '../../../src/base/phases.ts'
import type { TenantName } from '../../../src/base/ids.ts'
import { workerClock } from '../../../src/host/cloudflare/clock.ts'
import type { Architecture, Ask } from '../../../src/host/cloudflare/architectures/architecture.ts'
import worker from '../../../src/host/cloudflare/architectures/main.ts'
import { ARCHITECTURES } from '../../../src/host/cloudflare/architectures/routes.ts'

export * from '../../../src/host/cloudflare/architectures/main.ts'

/** An object that does nothing. */
export class PingObject extends DurableObject {
  async ping(): Promise<void> {}
}

/** What the shipped Worker is given. */
type Environment = Ask['environment']

interface BenchEnvironment extends Environment {
  readonly PINGS: DurableObjectNamespace<PingObject>
}

const handler: ExportedHandler<BenchEnvironment> = {
  async fetch(request, environment, context): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url)
    if (pathname === '/bench/ping') {
      const object = environment.PINGS.getByName('ping')
      for (let left = Number(searchParams.get('count')); left > 0; left--) await object.ping()
      return Response.json({})
    }
    if (pathname === '/bench/run') {
      const asked: BenchRequest = await request.json()
      return Response.json({ value: await run(asked, environment, context) })
    }
    return (await worker.fetch?.(request, environment, context)) ?? new Response()
  },
}
export default handler

/** The first value of the last one's first row. */
async function run(
  { architecture: name, tenants, sql, count }: BenchRequest,
  environment: BenchEnvironment,
  context: ExecutionContext,
): Promise<unknown> {
  const architecture = ARCHITECTURES[name]
  if (!architecture) throw new Error(`there is no ${name}`)
  let value: unknown
  for (let index = 0; index < count; index++) {
    const tenant = (tenants[index % tenants.length] ?? '') as TenantName
    value = await once(architecture, {
      environment,
      waitUntil: (work) => context.waitUntil(work),
      tenant,
      url: new URL('https://bench.invalid/'),
      phases: new Phases(workerClock),
      statement: async () => ({ sql, parameters: [] }),
      values: async () => [],
    })
  }
  return value
}

async function once({ query, endpoints }: Architecture, ask: Ask): Promise<unknown> {
  if (query) return (await query(ask)).result.rows[0]?.[0]
  const endpoint = endpoints?.['query'] ?? endpoints?.['direct']
  if (!endpoint) throw new Error('it runs no statements')
  const { rows } = (await endpoint.answer(ask)) as { rows: readonly object[] }
  return Object.values(rows[0] ?? {})[0]
}
