/**
 * A running server, asked over HTTP: the same interface as the one in this process, so that a verb
 * does not know which of the two it has.
 *
 * Errors arrive as what they were: those of pgnap with code and hint, those of Postgres with their
 * fields.
 */
import { ERRORS, type ErrorCode, PgnapError, errorText } from '../base/errors.ts'
import type { SqlConnection } from '../host/node/dump/sql-connection.ts'
import type { Fetch } from './pinned-fetch.ts'
import type { TenantServer, TextResult } from './target.ts'

interface ServerClientOptions {
  /** As `http://127.0.0.1:6480`; user and password in it are sent as basic authentication. */
  readonly url: string
  /**
   * The one certificate that is taken from an https server. Default: any for the name in the URL
   * that Node trusts.
   */
  readonly certificate?: string | undefined
  /** Of the JSON API; sent instead of user and password. */
  readonly token?: string | undefined
  readonly fetch?: Fetch
  /** How long it may say nothing to a greeting. Default: 10 s. */
  readonly greetingMs?: number
}

/** A server that lives has said something by then, however busy it is. */
const GREETING_MS = 10_000

type Body = Readonly<Record<string, unknown>>
type Ask = (method: string, path: string, body?: Body) => Promise<Body>

/** Names of /v1 for the fields of a Postgres error, by their letters. */
const LETTERS: Readonly<Record<string, string>> = {
  message: 'M',
  sqlState: 'C',
  severity: 'V',
  detail: 'D',
  hint: 'H',
  position: 'P',
  where: 'W',
  schema: 's',
  table: 't',
  column: 'c',
  constraint: 'n',
}

/** An error of Postgres that came over HTTP. */
class RemotePostgresError extends Error {
  override readonly name = 'PostgresError'
  readonly fields: Readonly<Record<string, string>>

  constructor(fields: Readonly<Record<string, string>>) {
    super(fields['M'] ?? '')
    this.fields = fields
  }
}

/** Throws CONFIG_INVALID if the URL is none. Nothing is asked yet. */
export function createServerClient(options: ServerClientOptions): TenantServer {
  const base = URL.parse(options.url)
  if (!base || !/^https?:$/.test(base.protocol)) throw noUrl()
  const { token, certificate, greetingMs = GREETING_MS } = options
  const send = options.fetch ?? fetchFor(certificate)
  const greeted = greetOnce(rootOf(base), send, greetingMs)
  const ask = requester(base, token, { send, greeted })
  const path = (name: string, verb = ''): string =>
    `v1/tenants/${encodeURIComponent(name)}${verb === '' ? '' : `/${verb}`}`
  return {
    query: async (tenant, sql) => {
      const body = { sql, arrayMode: true, rawText: true }
      return (await ask('POST', path(tenant, 'query'), body)) as Body & TextResult
    },
    createTenant: async (name, template) => ask('POST', 'v1/tenants', { name, template }),
    listTenants: async ({ after, limit }) => {
      const cursor = after === undefined ? '' : `&after=${encodeURIComponent(after)}`
      const { tenants, next } = await ask('GET', `v1/tenants?limit=${limit}${cursor}`)
      return { tenants: tenants as Body[], next: typeof next === 'string' ? next : undefined }
    },
    showTenant: async (name) => ask('GET', path(name)),
    deleteTenant: async (name) => {
      await ask('DELETE', path(name))
    },
    napTenant: async (name) => ask('POST', path(name, 'nap')),
    wakeTenant: async (name) => ask('POST', path(name, 'wake')),
    rolesOf: async (name) => (await ask('GET', path(name, 'roles')))['roles'] as Body[],
    rotateRole: async (name, role) =>
      ask('POST', path(name, `roles/${encodeURIComponent(role)}/rotate`)),
    revokeRole: async (name, role) => {
      await ask('POST', path(name, `roles/${encodeURIComponent(role)}/revoke`))
    },
    pinTenant: async (name) => ask('POST', path(name, 'pin')),
    unpinTenant: async (name) => ask('POST', path(name, 'unpin')),
    connect: async (tenant, program) => {
      await greeted()
      return connect(base, certificate, { tenant, program })
    },
    [Symbol.asyncDispose]: async () => {},
  }
}

function fetchFor(certificate: string | undefined): Fetch {
  if (certificate === undefined) return fetch
  // Few have such a server, and everybody would wait for the code.
  return async (url, init) =>
    (await import('./pinned-fetch.ts')).pinnedFetch(certificate)(url, init)
}

function requester(
  base: URL,
  token: string | undefined,
  { send, greeted }: { readonly send: Fetch; readonly greeted: () => Promise<void> },
): Ask {
  const { username, password } = base
  const headers = new Headers({ Accept: 'application/json' })
  if (token !== undefined) headers.set('Authorization', `Bearer ${token}`)
  else if (username !== '') {
    const credentials = [username, password].map(decoded).join(':')
    headers.set('Authorization', `Basic ${Buffer.from(credentials).toString('base64')}`)
  }
  const root = rootOf(base)
  return async (method, path, body) => {
    const init = { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) }
    await greeted()
    const answer = await reach(root, () => send(new URL(path, root), init))
    if (answer.status === 204) return {}
    const value = parsed(await contentOf(answer, root))
    if (!value) throw notPgnap(root, answer.status)
    if (!answer.ok) throw errorFrom(value, root, answer.status)
    return value
  }
}

/** By the wire, inside of a WebSocket; who the client is stands in the URL. */
async function connect(
  base: URL,
  certificate: string | undefined,
  { tenant, program }: { readonly tenant: string; readonly program: string },
): Promise<SqlConnection> {
  const [{ SqlConnection }, { streamOverHttp }] = await Promise.all([
    import('../host/node/dump/sql-connection.ts'),
    import('../host/node/dump/tenant-stream.ts'),
  ])
  const pinned = certificate === undefined ? undefined : await import('./pinned-fetch.ts')
  const trust = pinned && certificate !== undefined ? pinned.pinnedTrust(certificate) : {}
  const stream = await streamOverHttp(rootOf(base), trust)
  const user = base.username === '' ? 'postgres' : decoded(base.username)
  try {
    const password = decoded(base.password)
    return await SqlConnection.open(stream, { tenant, user, password, program })
  } catch (error) {
    if (!(error instanceof PgnapError) || error.code !== 'AUTHENTICATION_FAILED') throw error
    throw new PgnapError('AUTHENTICATION_FAILED', error.message, {
      hint: 'name an administrator: --url http://user:password@host:port',
      cause: error,
    })
  }
}

/** The address without who asks, to which paths can be added. */
function rootOf(base: URL): URL {
  const root = new URL(base)
  root.username = ''
  root.password = ''
  if (!root.pathname.endsWith('/')) root.pathname += '/'
  return root
}

/** Of a part of the URL, where a `%` may stand for itself by mistake. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw noUrl()
  }
}

function noUrl(): PgnapError {
  return new PgnapError('CONFIG_INVALID', 'the URL of the server is not an http URL', {
    hint: 'give it as --url http://127.0.0.1:6480 or in PGNAP_URL; a % in a password is %25',
  })
}

async function contentOf(answer: Response, root: URL): Promise<string> {
  try {
    return await answer.text()
  } catch (cause) {
    throw new PgnapError('SERVER_UNREACHABLE', `the answer of ${root.origin} broke off`, {
      cause,
      detail: reasonOf(cause),
      hint: 'what was asked for may have been done: look before you ask again',
    })
  }
}

function reasonOf(cause: unknown): string {
  const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
  return errorText(reason)
}

/**
 * What it returns rejects with SERVER_UNREACHABLE if nobody says anything: a process that is
 * stopped, or hangs, is connected to all the same. What is asked for later may take its time.
 */
function greetOnce(root: URL, send: Fetch, greetingMs: number): () => Promise<void> {
  let greeting: Promise<void> | undefined
  return () => (greeting ??= greet(root, send, greetingMs))
}

async function greet(root: URL, send: Fetch, greetingMs: number): Promise<void> {
  const signal = AbortSignal.timeout(greetingMs)
  try {
    const answer = await send(new URL('healthz', root), {
      method: 'GET',
      headers: new Headers(),
      signal,
    })
    await answer.body?.cancel()
  } catch (cause) {
    // Whatever else is wrong the first question will tell, in its own words.
    if (!signal.aborted) return
    throw new PgnapError('SERVER_UNREACHABLE', `the server at ${root.origin} does not answer`, {
      cause,
      detail: `it takes connections, and has said nothing for ${greetingMs / 1000} s`,
      hint: 'look at its process (stopped?) and its log; nothing was asked of it yet',
    })
  }
}

async function reach(root: URL, send: () => Promise<Response>): Promise<Response> {
  try {
    return await send()
  } catch (cause) {
    const detail = reasonOf(cause)
    throw new PgnapError('SERVER_UNREACHABLE', `no server answers at ${root.origin}`, {
      cause,
      hint: 'start one with: pgnap serve; or name another with --url or PGNAP_URL',
      ...(detail === '' ? {} : { detail }),
    })
  }
}

function parsed(content: string): Body | undefined {
  try {
    const value: unknown = JSON.parse(content)
    return typeof value === 'object' && value !== null ? (value as Body) : undefined
  } catch {
    // Not JSON is an answer too: somebody else listens there.
    return undefined
  }
}

function errorFrom(value: Body, root: URL, status: number): Error {
  const error = value['error'] as Body | null | undefined
  if (typeof error !== 'object' || typeof error?.['message'] !== 'string') {
    return notPgnap(root, status)
  }
  if (error['code'] === 'POSTGRES') {
    const fields = Object.entries(LETTERS).flatMap(([name, letter]) =>
      typeof error[name] === 'string' ? [[letter, error[name]] as const] : [],
    )
    return new RemotePostgresError(Object.fromEntries(fields))
  }
  const code = String(error['code'])
  const known = Object.hasOwn(ERRORS, code)
  return new PgnapError(known ? (code as ErrorCode) : 'INTERNAL', error['message'], {
    ...(typeof error['hint'] === 'string' ? { hint: error['hint'] } : {}),
    ...(typeof error['detail'] === 'string' ? { detail: error['detail'] } : {}),
  })
}

function notPgnap(root: URL, status: number): PgnapError {
  return new PgnapError('SERVER_UNREACHABLE', `what answers at ${root.origin} is not pgnap`, {
    detail: `it answered with status ${status}`,
    hint: 'name the HTTP port of a pgnap server with --url or PGNAP_URL',
  })
}
