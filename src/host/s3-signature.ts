/**
 * Signs a request as S3 asks for it: AWS Signature Version 4, with the hash of the body among what
 * is signed. Pure but for the hashing; runs wherever `crypto.subtle` is.
 * Source: Amazon S3 API reference, "Authenticating Requests (AWS Signature Version 4)".
 */
import { utf8 } from '../base/bytes.ts'

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Of temporary credentials. Default: they are not temporary */
  readonly sessionToken?: string
}

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT'
  readonly url: URL
  /** Further headers that are sent, all of which are signed. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array<ArrayBuffer>
}

export interface SigningScope {
  readonly credentials: S3Credentials
  readonly region: string
  /** Of now, in milliseconds since 1970; S3 refuses one that is 15 minutes off. */
  readonly nowMs: number
}

const ALGORITHM = 'AWS4-HMAC-SHA256'

/** The headers to send, `Authorization` among them, and without `Host`, which the client sets. */
export async function signedHeaders(
  { method, url, headers, body }: S3Request,
  { credentials, region, nowMs }: SigningScope,
): Promise<Record<string, string>> {
  const at = new Date(nowMs).toISOString().replaceAll(/[:-]|\.\d{3}/g, '')
  const scope = `${at.slice(0, 8)}/${region}/s3/aws4_request`
  const contentHash = await sha256(body)
  const { sessionToken } = credentials
  const sent = {
    ...headers,
    ...(sessionToken === undefined ? {} : { 'x-amz-security-token': sessionToken }),
    'x-amz-content-sha256': contentHash,
    'x-amz-date': at,
  }
  const signed = Object.entries({ ...sent, host: url.host })
    .map(([name, value]) => [name.toLowerCase(), value.trim()] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  const names = signed.map(([name]) => name).join(';')
  const canonical = [
    method,
    canonicalPath(url),
    canonicalQuery(url),
    ...signed.map(([name, value]) => `${name}:${value}`),
    '',
    names,
    contentHash,
  ].join('\n')
  const toSign = [ALGORITHM, at, scope, await sha256(utf8(canonical))].join('\n')
  let key = utf8(`AWS4${credentials.secretAccessKey}`)
  for (const part of scope.split('/')) key = await hmac(key, part)
  const signature = hex(await hmac(key, toSign))
  const credential = `${credentials.accessKeyId}/${scope}`
  const fields = [`Credential=${credential}`, `SignedHeaders=${names}`, `Signature=${signature}`]
  return { ...sent, Authorization: `${ALGORITHM} ${fields.join(',')}` }
}

/** Each name of a path, with everything but what is unreserved as %XX (RFC 3986). */
export function encodeKey(key: string): string {
  return key.split('/').map(encodeUnreserved).join('/')
}

function canonicalPath({ pathname }: URL): string {
  return encodeKey(decodeURIComponent(pathname))
}

function canonicalQuery({ searchParams }: URL): string {
  return [...searchParams]
    .map(([name, value]) => `${encodeUnreserved(name)}=${encodeUnreserved(value)}`)
    .toSorted()
    .join('&')
}

function encodeUnreserved(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return hex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
}

async function hmac(key: Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const imported = await crypto.subtle.importKey('raw', key, algorithm, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, utf8(text)))
}

/** `Uint8Array.toHex` is not everywhere yet. */
function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
