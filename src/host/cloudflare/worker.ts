/**
 * The Worker in front of the objects: takes requests, looks who asks, and hands each on to the
 * object of its tenant. It keeps nothing but what it has made of its settings.
 */
import type { Hono } from 'hono'
import { POSTGRES_VERSION } from '../../engine/recipe.ts'
import { createHttp, type MetricsPage, WEB_SOCKET_PATH } from '../../front/http/app.ts'
import { type Asker, checkAsker } from '../../front/http/guard.ts'
import { workerClock } from './clock.ts'
import { clientBytes } from './client-bytes.ts'
import { consoleLog } from './console-log.ts'
import type { Environment } from './environment.ts'
import { guardOf } from './guard.ts'
import { isolateMetrics } from './isolate-pool.ts'
import { warmHottest } from './keep-warm.ts'
import { heard } from './outcome.ts'
import { checkSettings, misconfigured } from './settings.ts'
import { TenantControl } from './tenant-control.ts'
import { openWebSocket } from './web-socket-door.ts'

interface Application {
  readonly http: Hono
  /** Throws REQUEST_REFUSED. */
  readonly check: (asker: Asker) => void
}

/** By environment: the platform gives one for as long as an isolate lives. */
const applications = new WeakMap<Environment, Application>()

/** What a Worker tells Prometheus. */
export type Metrics<Bindings extends Environment> = (environment: Bindings) => Promise<MetricsPage>

/** @param version of pgnap. @param metrics default: those of the isolate */
export function createWorker<Bindings extends Environment = Environment>(
  version: string,
  metrics: Metrics<Bindings> = async () => isolateMetrics(version),
): ExportedHandler<Bindings> {
  return {
    async fetch(request, environment, context): Promise<Response> {
      let application: Application
      try {
        const told = (): Promise<MetricsPage> => metrics(environment)
        application =
          applications.get(environment) ?? (await makeApplication(environment, version, told))
      } catch (error) {
        return misconfigured(error)
      }
      applications.set(environment, application)
      if (isUpgrade(request) && isAllowed(request, application)) {
        return openWebSocket(request, environment)
      }
      return application.http.fetch(request, environment, context)
    },
    async scheduled(_event, environment): Promise<void> {
      const warm = async (name: string): Promise<void> => {
        await heard(environment.TENANTS.getByName(name).wake(name))
      }
      await warmHottest(environment, warm)
    },
  }
}

function isUpgrade({ url, headers }: Request): boolean {
  const isWebSocket = headers.get('Upgrade')?.toLowerCase() === 'websocket'
  return isWebSocket && new URL(url).pathname === WEB_SOCKET_PATH
}

/** Whoever is not is told so by the application, as for any request. */
function isAllowed({ url, headers }: Request, { check }: Application): boolean {
  const { host, pathname } = new URL(url)
  const origin = headers.get('Origin') ?? undefined
  try {
    check({ host: headers.get('Host') ?? host, origin, path: pathname })
    return true
  } catch {
    return false
  }
}

async function makeApplication(
  environment: Environment,
  version: string,
  metrics: () => Promise<MetricsPage>,
): Promise<Application> {
  const guard = await guardOf(environment)
  checkSettings(environment)
  const http = createHttp({
    ...guard,
    control: new TenantControl(environment),
    clock: workerClock,
    log: consoleLog,
    version,
    serverVersion: POSTGRES_VERSION,
    held: clientBytes,
    metrics,
  })
  return { http, check: checkAsker(guard) }
}
