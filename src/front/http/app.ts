/**
 * The HTTP front: SQL over HTTP for drivers, a JSON API for programs, a page for people.
 * Runtime-neutral: a host gives it requests by `fetch`, a test by `request`.
 *
 *   request --> Server-Timing --> Host, Origin --> password --> body --> route --> Control
 *
 * Nothing here knows where tenants live, and nothing keeps state between two requests. It must
 * never let a request reach the Control, nor hold a byte of its body, before its Host, its Origin
 * and its password were looked at.
 */
import { Hono } from 'hono'
import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { Clock } from '../../base/clock.ts'
import { PgnapError, toPgnapError } from '../../base/errors.ts'
import type { HeldBytes } from '../../base/held-bytes.ts'
import type { Log } from '../../base/log.ts'
import type { Control } from '../control.ts'
import { PostgresError } from '../wire/result.ts'
import { adminRoutes } from './admin-routes.ts'
import { errorAnswer, neonErrorAnswer, totalTiming } from './answers.ts'
import { givenUp, holdBodies } from './body-hold.ts'
import { type GuardOptions, allowOrigin, guardAdministrator, guardOrigin, hostOf } from './guard.ts'
import { PAGE_POLICY, startPage } from './page.ts'
import { unknownRoute } from './routes.ts'
import { sqlRoute } from './sql-route.ts'

/** Where a host that can do so opens WebSockets, which never come here. */
export const WEB_SOCKET_PATH = '/v2'

export interface HttpOptions extends GuardOptions {
  readonly control: Control
  readonly clock: Clock
  /** Version of pgnap. */
  readonly version: string
  /** Version of Postgres, as `18.1`. */
  readonly serverVersion: string
  readonly log: Log
  /** The account of what the server holds for its clients. Default: there is none. */
  readonly held?: HeldBytes
  /** Where the Postgres protocol is spoken, for people to connect to. Default: nowhere. */
  readonly wirePort?: number
  /** Numbers for Prometheus. Default: there is no such route. */
  readonly metrics?: () => Promise<MetricsPage>
}

/** What a scrape is answered. */
export interface MetricsPage {
  readonly contentType: string
  readonly text: string
}

/**
 * The application.
 *
 * @example
 * const app = createHttp({ control, clock, log, version: '0.1.0', serverVersion: '18.1' })
 * const answer = await app.request('/v1/pool')
 */
export function createHttp(options: HttpOptions): Hono {
  const { control, clock, version, serverVersion, wirePort, metrics, held } = options
  const app = new Hono()
  app.use(async (context, next) => {
    const startMs = clock.monotonicMs()
    await next()
    if (context.res.headers.has('Server-Timing')) return
    context.header('Server-Timing', totalTiming(clock.monotonicMs() - startMs))
  })
  app.use(guardOrigin(options))
  if (held) app.use(holdBodies(held))

  app.use('/sql', allowOrigin(options))
  app.route('/sql', sqlRoute(options))
  app.get(WEB_SOCKET_PATH, (context) => {
    context.header('Upgrade', 'websocket')
    throw new PgnapError('UPGRADE_REQUIRED', 'this path speaks Postgres inside of a WebSocket', {
      hint: 'connect to it with a driver for WebSockets; statements over HTTP go to /sql',
    })
  })
  app.use('/v1/*', guardAdministrator(options))
  app.use('/metrics', guardAdministrator(options))
  app.route('/v1', adminRoutes(control))
  if (metrics) {
    app.get('/metrics', async (context) => {
      const { contentType, text } = await metrics()
      return context.body(text, 200, { 'Content-Type': contentType })
    })
  }

  app.get('/healthz', (context) => context.json({ status: 'ok', version, serverVersion }))
  app.get('/readyz', (context) => {
    const ready = control.ready()
    return context.json({ ready }, ready ? 200 : 503)
  })
  app.get('/', (context) => {
    context.header('Content-Security-Policy', PAGE_POLICY)
    const url = new URL(context.req.url)
    // Or a host that names no port would have that of the request line.
    url.port = ''
    url.host = hostOf(context.req)
    return context.html(startPage({ version, serverVersion, url, wirePort }))
  })
  app.notFound((context) => failure(context, unknownRoute(context), options.log))
  app.onError((error, context) => failure(context, error, options.log))
  return app
}

/** Whoever asks may make it as long as he likes. */
const LOGGED_PATH_CHARS = 200

function failure(context: Context, cause: unknown, log: Log): Response {
  // Nobody reads this answer; it must only not look like a bug.
  const gone = context.req.raw.signal.aborted
  const error =
    givenUp(context) ??
    (gone ? new PgnapError('QUERY_CANCELED', 'the client has left', { cause }) : cause)
  if (!(error instanceof PostgresError) && toPgnapError(error).kind === 'report') {
    const { method, path } = context.req
    log.error('an HTTP request failed', { method, path: path.slice(0, LOGGED_PATH_CHARS), error })
  }
  const { status, body } = context.req.path === '/sql' ? neonErrorAnswer(error) : errorAnswer(error)
  return context.json(body, status as ContentfulStatusCode)
}
