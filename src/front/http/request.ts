/**
 * What requests carry: JSON bodies and credentials. Everything here comes from strangers; whatever
 * is not exactly as documented is REQUEST_INVALID with a hint that shows the right form.
 */
import type { Context } from 'hono'
import { concatBytes, fromUtf8 } from '../../base/bytes.ts'
import { PgnapError, errorText } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { selectTenant } from '../../router/tenant-selection.ts'
import { givenUp, holdBody, signalOf } from './body-hold.ts'
import { parseLossless } from './lossless-json.ts'
import { splitOptions } from '../wire/startup-options.ts'

export type JsonObject = Readonly<Record<string, unknown>>

export interface Credentials {
  readonly user: string
  readonly password: string
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

/**
 * The body as a JSON object. The Content-Type is not looked at: Neon's driver sends none. Only to
 * be asked for when it is known who asks: a body is held whole.
 * Its numbers keep every digit: programs in other languages do send those that JavaScript has not,
 * and a number must not change on its way into a table.
 * @param tenant whose request it is, for the account of what is held
 */
export async function readJsonObject(context: Context, tenant: string = ''): Promise<JsonObject> {
  const bytes = await readBody(context, tenant)
  let text: string
  let value: unknown
  try {
    text = strictUtf8.decode(bytes)
  } catch (cause) {
    throw invalid('the body is not UTF-8', 'send JSON in UTF-8', cause)
  }
  try {
    value = parseLossless(text)
  } catch (cause) {
    const reason = errorText(cause)
    throw invalid(`the body is not JSON: ${reason}`, 'send one JSON object', cause)
  }
  return jsonObject(value, 'the body')
}

/**
 * Throws MESSAGE_TOO_LARGE beyond LIMITS.httpRequestBytesMax, before more than that is held;
 * CLIENT_MEMORY_EXHAUSTED if too much is held for all clients together.
 */
async function readBody(context: Context, tenant: string): Promise<Uint8Array> {
  const { req } = context
  const claimed = req.header('Content-Length')
  if (claimed !== undefined && req.header('Transfer-Encoding') === undefined) {
    // No server reads more of a body than that.
    if (Number(claimed) > LIMITS.httpRequestBytesMax) throw tooLarge()
    if (Number(claimed) <= LIMITS.heldUncountedBytes) return new Uint8Array(await req.arrayBuffer())
  }
  const reader = req.raw.body?.getReader()
  const chunks: Uint8Array[] = []
  let length = 0
  const stop = (): void => void reader?.cancel()
  for (;;) {
    const chunk = (await reader?.read())?.value
    const error = givenUp(context)
    if (error) throw error
    if (!chunk) return concatBytes(chunks)
    length += chunk.length
    if (length > LIMITS.httpRequestBytesMax) throw tooLarge()
    chunks.push(chunk)
    if (holdBody(context, length, tenant)) {
      signalOf(context).addEventListener('abort', stop, { once: true })
    }
  }
}

function tooLarge(): PgnapError {
  const limit = LIMITS.httpRequestBytesMax
  return new PgnapError('MESSAGE_TOO_LARGE', `the body has more than the ${limit} bytes allowed`, {
    hint: 'send large amounts over the Postgres wire protocol, with COPY',
  })
}

/** `value`, which is called `name` where it is no JSON object. */
export function jsonObject(value: unknown, name: string): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as JsonObject
  }
  throw invalid(`${name} is not a JSON object`, 'send one JSON object')
}

/** A field that has to be text. */
export function requiredText(body: JsonObject, name: string, example: string): string {
  const value = body[name]
  if (typeof value !== 'string') {
    throw invalid(`"${name}" has to be text`, `send a body such as ${example}`)
  }
  return value
}

/** A field that is text if it is there. */
export function optionalText(body: JsonObject, name: string): string | undefined {
  const value = body[name] ?? undefined
  if (value !== undefined && typeof value !== 'string') {
    throw invalid(`"${name}" has to be text`, `leave "${name}" out for the default`)
  }
  return value
}

/** A field that is a list if it is there. */
export function optionalList(body: JsonObject, name: string): readonly unknown[] {
  const value = body[name] ?? []
  if (!Array.isArray(value)) throw invalid(`"${name}" has to be a list`, `such as "${name}": [1]`)
  return value
}

/** A field that is true or false if it is there. */
export function optionalFlag(body: JsonObject, name: string): boolean | undefined {
  const value = body[name] ?? undefined
  if (value !== undefined && typeof value !== 'boolean') {
    throw invalid(`"${name}" has to be true or false`, `leave "${name}" out for the default`)
  }
  return value
}

/** A whole number from the query string. */
export function queryNumber(
  context: Context,
  name: string,
  range: { readonly otherwise: number; readonly max: number },
): number {
  const text = context.req.query(name)
  if (text === undefined) return range.otherwise
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0
  if (value < 1 || value > range.max) {
    throw invalid(`${name}=${text} is out of range`, `${name} is between 1 and ${range.max}`)
  }
  return value
}

/** User and password of HTTP basic authentication (RFC 7617); undefined if the header is none. */
export function basicCredentials(header: string | undefined): Credentials | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(header ?? '')?.[1]
  const digits = encoded?.replace(/=+$/, '')
  if (digits === undefined || digits.length % 4 === 1) return undefined
  // Without its padding, which `atob` takes only if it is right; ours may be left out.
  const bytes = Uint8Array.from(atob(digits), (character) => character.charCodeAt(0))
  const text = fromUtf8(bytes)
  const colon = text.indexOf(':')
  if (colon < 0) return undefined
  return { user: text.slice(0, colon), password: text.slice(colon + 1) }
}

/** The token of `Authorization: Bearer` (RFC 6750); undefined if the header is none. */
export function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +([\x21-\x7e]+) *$/i.exec(header ?? '')?.[1]
}

export interface ConnectionString extends Credentials {
  /** The database's name: the tenant. */
  readonly tenant: string
}

const EXAMPLE = 'postgres://user:password@localhost/TENANT'
/**
 * They would change the session, and there is no way to honour them here: saying so beats silence.
 */
const SESSION_PARAMETERS = ['search_path', 'replication']

/**
 * Reads a connection string. Its database is the tenant, unless something else in it says which
 * (`selectTenant`); its host is the server's name as the client knows it, its port means nothing.
 * Parameters about the connection itself (sslmode, channel_binding, ...) are ignored, there is
 * none.
 */
export function readConnectionString(text: string | undefined, domain?: string): ConnectionString {
  const hint = `send the header Neon-Connection-String: ${EXAMPLE}`
  if (text === undefined) throw invalid('the header Neon-Connection-String is missing', hint)
  const url = URL.parse(text)
  // The text is not repeated: it holds a password.
  if (!url || !/^postgres(?:ql)?:$/.test(url.protocol)) {
    throw invalid('the header Neon-Connection-String is not a connection string', hint)
  }
  for (const name of SESSION_PARAMETERS) {
    if (url.searchParams.has(name)) throw sessionSetting(name)
  }
  try {
    const [, database = ''] = url.pathname.split('/').map(decodeURIComponent)
    const selectors = {
      user: decodeURIComponent(url.username),
      database,
      endpoint: endpointOf(url),
      serverName: url.hostname,
    }
    const { user, database: tenant, isNamed } = selectTenant(selectors, domain)
    // Unlike libpq's: a URL without one was probably cut off.
    if (!isNamed) throw invalid('the connection string names no database', hint)
    return { tenant, user, password: decodeURIComponent(url.password) }
  } catch (error) {
    if (error instanceof PgnapError) throw error
    throw invalid('the connection string has a wrong % sequence', hint)
  }
}

/** Words of `options` that choose a database, as Neon has them; any other is a session setting. */
function endpointOf({ searchParams }: URL): string | undefined {
  const options = searchParams.getAll('options').join(' ')
  if (/(?:^|\s)(?!endpoint=|project=)\S/.test(options)) throw sessionSetting('options')
  return splitOptions(options).endpoint
}

function sessionSetting(name: string): PgnapError {
  return new PgnapError('NOT_SUPPORTED', `"${name}" in a connection string over HTTP`, {
    hint: 'use the Postgres wire protocol for statements that need session settings',
  })
}

function invalid(message: string, hint: string, cause?: unknown): PgnapError {
  return new PgnapError('REQUEST_INVALID', message, { hint, cause })
}
