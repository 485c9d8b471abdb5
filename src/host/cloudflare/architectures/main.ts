/**
 * The Worker of the comparison: everything that the default one is, and every architecture of the
 * seeds beside it, each under a prefix. A program of its own, so that nothing of this weighs on the
 * default one. `npm run build:cloudflare` bundles both; wrangler.architectures.jsonc deploys this.
 */
import type { Hono } from 'hono'
import { version } from 'pgnap:version'
import { guardOf } from '../guard.ts'
import { checkSettings, misconfigured } from '../settings.ts'
import { createWorker } from '../worker.ts'
import { createArchitectures, isOfArchitectures } from './app.ts'
import { architecturesMetrics } from './delay-metrics.ts'
import type { ArchitecturesEnvironment } from './environment.ts'
import { keepArchitecturesWarm } from './keep-warm.ts'

export { DirectoryObject } from '../directory-object.ts'
export { TenantObject } from '../tenant-object.ts'
export { Compute } from './compute-worker.ts'
export { LazyObject } from './lazy-object.ts'
export { ComputeObject } from './compute-object.ts'
export { ConsumerObject } from './consumer-object.ts'
export { Factory } from './factory-worker.ts'
export { HybridObject } from './hybrid-object.ts'
export { RouterObject } from './router-object.ts'
export { StateObject } from './state-object.ts'
export { TraditionalObject } from './traditional-object.ts'

type Application = Hono<{ Bindings: ArchitecturesEnvironment }>

/** By environment: the platform gives one for as long as an isolate lives. */
const applications = new WeakMap<ArchitecturesEnvironment, Promise<Application>>()

const defaultWorker = createWorker<ArchitecturesEnvironment>(version, (environment) =>
  architecturesMetrics(version, environment),
)

const worker: ExportedHandler<ArchitecturesEnvironment> = {
  async fetch(request, environment, context): Promise<Response> {
    if (!isOfArchitectures(new URL(request.url))) {
      return (await defaultWorker.fetch?.(request, environment, context)) ?? new Response()
    }
    let application: Application
    try {
      application = await applicationOf(environment)
    } catch (error) {
      return misconfigured(error)
    }
    return application.fetch(request, environment, context)
  },
  async scheduled(_event, environment): Promise<void> {
    await keepArchitecturesWarm(environment)
  },
}
export default worker

function applicationOf(environment: ArchitecturesEnvironment): Promise<Application> {
  const known = applications.get(environment)
  if (known) return known
  const made = makeApplication(environment)
  applications.set(environment, made)
  return made
}

async function makeApplication(environment: ArchitecturesEnvironment): Promise<Application> {
  checkSettings(environment)
  return createArchitectures(await guardOf(environment))
}
