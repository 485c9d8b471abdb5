/**
 * Passwords as they are kept: SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677), which prove a password
 * without containing it. The one reader and the one writer of their text form stand here, so that
 * what is accepted when a server starts is what a login is checked against.
 *
 * Only `crypto.subtle` is used, which exists on every host.
 */
import { equalBytes, utf8 } from '../base/bytes.ts'
import type { Random } from '../base/random.ts'
import { saslPrepare } from './sasl-prepare.ts'

/** A stored secret taken apart. */
export interface Verifier {
  readonly iterations: number
  readonly salt: Uint8Array<ArrayBuffer>
  readonly storedKey: Uint8Array<ArrayBuffer>
  readonly serverKey: Uint8Array<ArrayBuffer>
}

export interface VerifierOptions {
  /** Rounds of PBKDF2. Default {@link SCRAM_ITERATIONS}. */
  readonly iterations?: number
  /** Default: {@link SALT_BYTES} of `random`. */
  readonly salt?: Uint8Array<ArrayBuffer>
}

/** Postgres's default of scram_iterations. */
export const SCRAM_ITERATIONS = 4096
export const SALT_BYTES = 16
export const KEY_BYTES = 32
const VERIFIER = /^SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/

/** The verifier that Postgres would store for `password`. */
export async function makeVerifier(
  password: string,
  random: Random,
  options: VerifierOptions = {},
): Promise<Verifier> {
  const iterations = options.iterations ?? SCRAM_ITERATIONS
  const salt = options.salt ?? new Uint8Array(random.bytes(SALT_BYTES))
  const raw = utf8(saslPrepare(password))
  const key = await crypto.subtle.importKey('raw', raw, 'PBKDF2', false, ['deriveBits'])
  const derivation = { name: 'PBKDF2', hash: 'SHA-256', salt, iterations }
  const salted = new Uint8Array(await crypto.subtle.deriveBits(derivation, key, KEY_BYTES * 8))
  const storedKey = await sha256(await hmac(salted, utf8('Client Key')))
  const serverKey = await hmac(salted, utf8('Server Key'))
  return { iterations, salt, storedKey, serverKey }
}

/**
 * The salt of a user, always the same for one `secret` and name: a user that does not exist has the
 * same as one that does, and neither changes with its password. So what a server says before a
 * password is proven tells nothing. Salts differ between users and between servers, which is what
 * they are for.
 * @param secret known to nobody outside
 */
export async function saltOf(
  user: string,
  secret: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  return (await hmac(secret, utf8(`salt ${user}`))).slice(0, SALT_BYTES)
}

/** As in pg_authid.rolpassword: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. */
export function verifierText({ iterations, salt, storedKey, serverKey }: Verifier): string {
  const keys = `${toBase64(storedKey)}:${toBase64(serverKey)}`
  return `SCRAM-SHA-256$${iterations}:${toBase64(salt)}$${keys}`
}

/** Reads the text form of a verifier; undefined if it is not one. */
export function parseVerifier(text: string): Verifier | undefined {
  const [, iterations, saltText, storedText, serverText] = VERIFIER.exec(text) ?? []
  const salt = fromBase64(saltText ?? '')
  const storedKey = fromBase64(storedText ?? '')
  const serverKey = fromBase64(serverText ?? '')
  if (!salt || storedKey?.length !== KEY_BYTES || serverKey?.length !== KEY_BYTES) return undefined
  if (!(Number(iterations) >= 1)) return undefined
  return { iterations: Number(iterations), salt, storedKey, serverKey }
}

export function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
}

/** Strict: undefined unless `text` is exactly what {@link toBase64} would write. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text === '' || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
  return equalBytes(utf8(toBase64(bytes)), utf8(text)) ? bytes : undefined
}

export async function hmac(
  key: Uint8Array<ArrayBuffer>,
  message: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const imported = await crypto.subtle.importKey('raw', key, algorithm, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, message))
}

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
}
