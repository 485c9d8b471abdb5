/**
 * The routes of the comparison, over the table of `routes.ts`:
 *
 *   GET  /architectures                             what there is
 *   GET  /NAME                                      the same of one
 *   POST /NAME/query     {"sql", "params"}          one statement of the tenant of X-Tenant-Id
 *   POST /NAME/timing    the same, with the phases of the request
 *   GET  /NAME/status
 *   ...  /NAME/...       what else an architecture has
 *   POST /multi-tenant/NAME/TENANT/query            the tenant in the path (seed 002)
 *
 * Whoever asks has to be let in as to `/v1`. It must never let a request reach an architecture
 * before its Host, its Origin and its password were looked at, nor hold a byte of its body.
 */
import { type Context, Hono } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { assert } from '../../../base/assert.ts'
import { PgnapError, toPgnapError } from '../../../base/errors.ts'
import { Phases, type PhaseTime } from '../../../base/phases.ts'
import type { Statement } from '../../../front/control.ts'
import { errorAnswer, jsonAnswer, STATEMENT_ANSWER_BYTES_MAX } from '../../../front/http/answers.ts'
import { guardAdministrator, guardOrigin, type GuardOptions } from '../../../front/http/guard.ts'
import {
  type JsonObject,
  optionalList,
  readJsonObject,
  requiredText,
} from '../../../front/http/request.ts'
import { encodeParameters } from '../../../front/values.ts'
import { PostgresError } from '../../../front/wire/result.ts'
import { parseTenantName } from '../../../router/tenant-name.ts'
import { workerClock } from '../clock.ts'
import { consoleLog } from '../console-log.ts'
import { servedBody } from './answers.ts'
import {
  type Architecture,
  type Ask,
  DEFAULT_TENANT,
  type Endpoint,
  type JsonBody,
} from './architecture.ts'
import type { ArchitecturesEnvironment } from './environment.ts'
import { noteAsked } from './keep-warm.ts'
import { ARCHITECTURES } from './routes.ts'

const TENANT_HEADER = 'X-Tenant-Id'
const TENANT_IN_PATH = 'multi-tenant'
/** That of `/sqlite`. */
const USER_QUERY = 'user'
const QUERY_EXAMPLE = '{"sql": "select $1::int", "params": [1]}'

type Bindings = { Bindings: ArchitecturesEnvironment }

/** Whether {@link createArchitectures} has a route for it. */
export function isOfArchitectures({ pathname }: URL): boolean {
  const [, first = ''] = pathname.split('/', 2)
  return (
    first === 'architectures' || first === TENANT_IN_PATH || Object.hasOwn(ARCHITECTURES, first)
  )
}

export function createArchitectures(guard: GuardOptions): Hono<Bindings> {
  const app = new Hono<Bindings>()
  app.use(guardOrigin(guard))
  app.use(guardAdministrator(guard))
  app.get('/architectures', (context) => jsonAnswer(context, { architectures: overview() }))
  for (const [name, architecture] of Object.entries(ARCHITECTURES)) {
    const endpoints = endpointsOf(name, architecture)
    for (const [path, endpoint] of Object.entries(endpoints)) {
      const route = path === '' ? `/${name}` : `/${name}/${path}`
      addEndpoint(app, route, endpoint)
      if (path !== 'query') continue
      addEndpoint(app, `/${TENANT_IN_PATH}/${name}/:tenant/query`, endpoint)
    }
  }
  app.notFound((context) => failure(context, unknownRoute(context)))
  app.onError((error, context) => failure(context, error))
  return app
}

/** All of an architecture's, those that follow from what it can do and its own. */
function endpointsOf(name: string, architecture: Architecture): Readonly<Record<string, Endpoint>> {
  const { query, status } = architecture
  const asked = async (ask: Ask): Promise<JsonBody> => {
    assert(query, 'only who has statements is asked for one')
    const body = servedBody(name, ask, await query(ask))
    // Nothing else is about a tenant that there is.
    noteAsked(name, ask)
    return body
  }
  const info: Endpoint = {
    method: 'GET',
    what: 'what this is',
    answer: async () => overviewOf(name, architecture),
  }
  const statements = query && {
    query: {
      method: 'POST' as const,
      what: 'runs one statement',
      answer: asked,
    },
    timing: {
      method: 'POST' as const,
      what: 'runs one statement, and tells the phases of the request',
      answer: async (ask: Ask) => ({ ...(await asked(ask)), timing: ask.phases.report() }),
    },
  }
  const standing = status && {
    status: {
      method: 'GET' as const,
      what: 'how it stands',
      answer: async (ask: Ask) => ({ architecture: name, ...(await status(ask)) }),
    },
  }
  return { '': info, ...statements, ...standing, ...architecture.endpoints }
}

function overview(): readonly JsonBody[] {
  return Object.entries(ARCHITECTURES).map(([name, each]) => overviewOf(name, each))
}

function overviewOf(name: string, architecture: Architecture): JsonBody {
  const { what, durability } = architecture
  return { architecture: name, what, durability, endpoints: routesOf(name, architecture) }
}

/** As a list shows them. */
interface Route {
  readonly method: Endpoint['method']
  readonly path: string
  readonly what: string
}

function routesOf(name: string, architecture: Architecture): readonly Route[] {
  return Object.entries(endpointsOf(name, architecture)).flatMap(([route, { method, what }]) => {
    const path = route === '' ? `/${name}` : `/${name}/${route}`
    if (route !== 'query') return [{ method, path, what }]
    const inPath = `/${TENANT_IN_PATH}/${name}/TENANT/query`
    return [
      { method, path, what },
      { method, path: inPath, what: `${what}, of the tenant in the path` },
    ]
  })
}

function addEndpoint(app: Hono<Bindings>, path: string, { method, answer }: Endpoint): void {
  app.on(method, path, async (context) => {
    const phases = new Phases(workerClock)
    const body = await answer(askOf(context, phases))
    context.header('Server-Timing', serverTiming(phases))
    return jsonAnswer(context, body)
  })
}

function askOf(context: Context<Bindings>, phases: Phases): Ask {
  const { req, env, executionCtx } = context
  let body: Promise<JsonObject> | undefined
  const read = (): Promise<JsonObject> => (body ??= readJsonObject(context))
  return {
    environment: env,
    waitUntil: (work) => executionCtx.waitUntil(work),
    tenant: parseTenantName(tenantOf(context)),
    url: new URL(req.url),
    phases,
    statement: async () => statementIn(await read()),
    values: async () => optionalList(await read(), 'params'),
  }
}

/** @throws PgnapError REQUEST_INVALID if `?user=` names another: neither is meant surely */
function tenantOf({ req }: Context<Bindings>): string {
  const tenant = req.param('tenant') ?? req.header(TENANT_HEADER)
  const user = req.query(USER_QUERY)
  if (tenant !== undefined && user !== undefined && tenant !== user) {
    throw new PgnapError('REQUEST_INVALID', 'the request names two tenants', {
      hint: `name it once: in the path, in ${TENANT_HEADER} or in ?${USER_QUERY}=`,
    })
  }
  return tenant ?? DEFAULT_TENANT
}

function statementIn(body: JsonObject): Statement {
  const sql = requiredText(body, 'sql', QUERY_EXAMPLE)
  const parameters = encodeParameters(optionalList(body, 'params'))
  return { sql, parameters, answerBytesMax: STATEMENT_ANSWER_BYTES_MAX }
}

function serverTiming(phases: Phases): string {
  const { phases: times } = phases.report()
  return times.map(({ name, ms }: PhaseTime) => `${name};dur=${ms.toFixed(3)}`).join(', ')
}

/** The error for a request that no route takes; sets Allow where another method would do. */
function unknownRoute(context: Context): PgnapError {
  const { method, path } = context.req
  const [, first = '', ...rest] = path.split('/')
  const isTenantInPath = first === TENANT_IN_PATH
  const name = isTenantInPath ? (rest[0] ?? '') : first
  const architecture = Object.hasOwn(ARCHITECTURES, name) && ARCHITECTURES[name]
  if (!architecture) {
    const names = Object.keys(ARCHITECTURES).join(', ')
    return new PgnapError('ROUTE_UNKNOWN', `there is no architecture at ${path}`, {
      hint: `there are ${names}; GET /architectures tells of them`,
    })
  }
  const known = routesOf(name, architecture)
  const asked = isTenantInPath && rest.length === 3 && rest[1] !== '' ? rest[2] : undefined
  const route = asked === undefined ? path : `/${TENANT_IN_PATH}/${name}/TENANT/${asked}`
  const endpoint = known.find((each) => each.path === route)
  if (endpoint) {
    context.header('Allow', endpoint.method)
    return new PgnapError('METHOD_NOT_ALLOWED', `${method} is not allowed on ${path}`, {
      hint: `use ${endpoint.method}`,
    })
  }
  const routes = known.map((each) => `${each.method} ${each.path}`)
  return new PgnapError('ROUTE_UNKNOWN', `there is no route ${path}`, {
    hint: `there are ${routes.join(', ')}`,
  })
}

function failure(context: Context, error: unknown): Response {
  if (!(error instanceof PostgresError) && toPgnapError(error).kind === 'report') {
    consoleLog.error('a request failed', { error, path: context.req.path })
  }
  const { status, body } = errorAnswer(error)
  return context.json(body, status as ContentfulStatusCode)
}
