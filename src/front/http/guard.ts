/**
 * Who may ask. A server on loopback without passwords is within reach of every web page that its
 * user opens, because the browser runs there too. Three rules stand against that;
 * docs/decisions/0004 tells the attacks and why these and no others.
 *
 *   Host     must be an address, a name without dots, localhost, or a name the operator gave: a
 *   page that
 *            has pointed its own domain at 127.0.0.1 (DNS rebinding) sends that domain.
 *   Origin   if there is one, must be loopback, the server itself, or one the operator gave. With
 *            passwords, /sql and /v2 are open to all origins, as Neon's are: no browser adds a
 *            password by itself.
 *   Password with `authenticate`: of the connection string on /sql; on /v2 the Postgres protocol
 *            asks for it. What belongs to no tenant (/v1, /metrics) is an administrator's: HTTP
 *            basic, or a bearer token alone if there is one.
 *
 * It must never answer a refused request with CORS headers: those are what would let the page read.
 */
import type { Context, HonoRequest, MiddlewareHandler } from 'hono'
import { PgnapError } from '../../base/errors.ts'
import { isLoopback } from '../../base/loopback.ts'
import type { LoginLimiter } from '../../router/login-attempts.ts'
import { type Credentials, basicCredentials, bearerToken } from './request.ts'

/**
 * Whether `password` is the one of `user`, who may use `tenant`. Must take as long for unknown
 * users.
 */
export type Authenticate = (user: string, password: string, tenant: string) => Promise<boolean>

export interface GuardOptions {
  /** Absent: everybody is let in, so only trusted hosts and origins are. */
  readonly authenticate?: Authenticate
  /** Who has to wait because of failed logins. Default: nobody. */
  readonly limiter?: LoginLimiter
  /** Where a request comes from. Default: nobody knows. */
  readonly addressOf?: (context: Context) => string
  /** Whether a web token opens a tenant on /sql. Absent: only passwords do. */
  readonly authenticateToken?: (token: string, tenant: string) => Promise<boolean>
  /** Whether this is the token of /v1 and /metrics, which are closed to all others then. */
  readonly isAdminToken?: (token: string) => boolean
  /** Host names by which the server is reached, without port. */
  readonly allowedHosts?: readonly string[]
  /** What the server calls itself: it is reached by that name and by names in front of it. */
  readonly domain?: string | undefined
  /** Origins of web pages that may ask, as `https://app.example.com`. */
  readonly allowedOrigins?: readonly string[]
  /** What lets a host name in, and what a web page; said to who is refused. Default: nothing. */
  readonly advice?: GuardAdvice
}

export interface GuardAdvice {
  readonly host: string
  readonly origin: string
}

/** The admin console's database: who may use it may use what belongs to no tenant. */
export const ADMIN_TENANT = 'pgnap'

const NEON_HEADERS = [
  'Authorization',
  'Content-Type',
  'Neon-Connection-String',
  'Neon-Raw-Text-Output',
  'Neon-Array-Mode',
  'Neon-Pool-Opt-In',
  'Neon-Batch-Read-Only',
  'Neon-Batch-Isolation-Level',
  'Neon-Batch-Deferrable',
]
const PREFLIGHT_SECONDS = 86_400

/** Open to all origins if there are passwords, because each request brings its own. */
const OPEN_WITH_PASSWORDS: ReadonlySet<string> = new Set(['/sql', '/v2'])

/** What of a request tells whether a foreign web page has sent it. */
export interface Asker {
  readonly host: string
  readonly origin: string | undefined
  readonly path: string
}

/** The check of Host and Origin. What it returns throws REQUEST_REFUSED. */
export function checkAsker(options: GuardOptions): (asker: Asker) => void {
  const hosts = new Set((options.allowedHosts ?? []).map((host) => host.toLowerCase()))
  const origins = new Set(options.allowedOrigins ?? [])
  // With passwords, a rebound name gains nothing: the browser keeps passwords apart by name.
  const anyHost = options.authenticate !== undefined
  const { advice } = options
  return ({ host, origin, path }) => {
    if (!anyHost && !isTrustedHost(host, hosts) && !isOfDomain(host, options.domain)) {
      throw new PgnapError('REQUEST_REFUSED', `the host name ${JSON.stringify(host)} is not ours`, {
        hint: `ask by address or as localhost${advice ? `, or ${advice.host}` : ''}`,
      })
    }
    const open = options.authenticate !== undefined && OPEN_WITH_PASSWORDS.has(path)
    if (origin !== undefined && !open && !isTrustedOrigin(origin, host, origins)) {
      const hint = advice ? { hint: advice.origin } : {}
      throw new PgnapError(
        'REQUEST_REFUSED',
        `web pages of ${origin} may not use this server`,
        hint,
      )
    }
  }
}

/**
 * Whom a request is for. Of a request line with a whole URL, as for a proxy, the Host header counts
 * all the same: browsers send no other, and so nothing that is checked can be got around by it.
 */
export function hostOf(req: HonoRequest): string {
  return req.header('Host') ?? new URL(req.url).host
}

/** Refuses requests by their Host and Origin. Goes before everything else. */
export function guardOrigin(options: GuardOptions): MiddlewareHandler {
  const check = checkAsker(options)
  return async ({ req }, next) => {
    check({ host: hostOf(req), origin: req.header('Origin'), path: req.path })
    await next()
  }
}

/** CORS of /sql; the guard has passed the origin. */
export function allowOrigin(options: GuardOptions): MiddlewareHandler {
  return async (context, next) => {
    const origin = context.req.header('Origin')
    if (options.authenticate) context.header('Access-Control-Allow-Origin', '*')
    else if (origin !== undefined) context.header('Access-Control-Allow-Origin', origin)
    context.header('Vary', 'Origin')
    context.header('Access-Control-Expose-Headers', 'Server-Timing')
    if (context.req.method !== 'OPTIONS') return next()
    context.header('Allow', 'OPTIONS, POST')
    context.header('Access-Control-Allow-Methods', 'OPTIONS, POST')
    context.header('Access-Control-Allow-Headers', NEON_HEADERS.join(', '))
    context.header('Access-Control-Max-Age', String(PREFLIGHT_SECONDS))
    return context.body(null, 200)
  }
}

/** Lets administrators in and nobody else: by the token if there is one, else by password. */
export function guardAdministrator(options: GuardOptions): MiddlewareHandler {
  const { isAdminToken, authenticate } = options
  return async (context, next) => {
    const header = context.req.header('Authorization')
    if (isAdminToken) {
      const token = bearerToken(header)
      if (token === undefined || !isAdminToken(token)) {
        const problem = token === undefined ? '' : ', error="invalid_token"'
        context.header('WWW-Authenticate', `Bearer realm="pgnap"${problem}`)
        throw new PgnapError('AUTHENTICATION_FAILED', 'this takes the token of the server', {
          hint: 'send the content of --admin-token-file as Authorization: Bearer TOKEN',
        })
      }
    } else if (authenticate) {
      try {
        await checkPassword(options, context, basicCredentials(header), ADMIN_TENANT)
      } catch (error) {
        context.header('WWW-Authenticate', 'Basic realm="pgnap", charset="UTF-8"')
        throw error
      }
    }
    await next()
  }
}

/**
 * Throws AUTHENTICATION_FAILED, in the same words whatever was wrong; LOGIN_LIMITED if it was wrong
 * too often. Does nothing without passwords.
 */
export async function checkPassword(
  { authenticate, limiter, addressOf }: GuardOptions,
  context: Context,
  credentials: Credentials | undefined,
  tenant: string,
): Promise<void> {
  if (!authenticate) return
  const user = credentials?.user ?? ''
  if (credentials) {
    const attempt = { address: addressOf?.(context) ?? '', user, database: tenant }
    limiter?.check(attempt)
    const isRight = await authenticate(user, credentials.password, tenant)
    limiter?.check(attempt)
    if (isRight) return
    limiter?.failed(attempt)
  }
  throw new PgnapError(
    'AUTHENTICATION_FAILED',
    `password authentication failed for user "${user}"`,
    {
      hint: 'send them in the connection string on /sql, as basic authentication on /v1',
    },
  )
}

/** Throws AUTHENTICATION_FAILED, in the same words whatever was wrong with the token. */
export async function checkToken(
  authenticateToken: NonNullable<GuardOptions['authenticateToken']>,
  token: string,
  database: string,
): Promise<void> {
  const [tenant = ''] = database.split('@', 1)
  if (await authenticateToken(token, tenant)) return
  throw new PgnapError('AUTHENTICATION_FAILED', 'the web token does not open this database', {
    hint: 'it has to be signed, of now, for this server, and to name this database',
  })
}

function isTrustedHost(host: string, allowed: ReadonlySet<string>): boolean {
  const name = hostName(host)
  // A page from an address or a name without dots was served by that machine itself: no one can
  // have either in the public DNS.
  return name !== undefined && (allowed.has(name) || isAddress(name) || isLocalName(name))
}

function isOfDomain(host: string, domain: string | undefined): boolean {
  const name = hostName(host)
  if (domain === undefined || name === undefined) return false
  return name === domain || name.endsWith(`.${domain}`)
}

function isTrustedOrigin(origin: string, host: string, allowed: ReadonlySet<string>): boolean {
  if (allowed.has(origin)) return true
  const url = URL.parse(origin)
  if (!url || !/^https?:$/.test(url.protocol)) return false
  return url.host === host.toLowerCase() || isLoopback(url.hostname)
}

/** The name in a header Host, without its port. */
export function hostName(host: string): string | undefined {
  // `:` ends the name only outside of the brackets of an IPv6 address.
  return /^(\[[0-9a-f:.]+\]|[^:[\]/@\s]+)(?::\d+)?$/
    .exec(host.toLowerCase())?.[1]
    ?.replace(/\.$/, '')
}

function isAddress(name: string): boolean {
  return name.startsWith('[') || /^\d{1,3}(?:\.\d{1,3}){3}$/.test(name)
}

function isLocalName(name: string): boolean {
  return !name.includes('.') || name.endsWith('.localhost')
}
