/**
 * JSON Web Tokens (RFC 7519) that open one tenant over HTTP: somebody else knows the people, signs
 * what each of them may use, and publishes the keys (JWKS, RFC 7517).
 *
 * A token counts if it is signed by one of those keys, is of now (`exp`, `nbf`), is for us (`aud`)
 * and names the tenant. Only signatures that need a private key are taken: with a shared secret, or
 * none, whoever has the published keys could sign.
 */
import { type JSONWebKeySet, createLocalJWKSet, createRemoteJWKSet, errors, jwtVerify } from 'jose'
import { PgnapError } from '../base/errors.ts'

export interface WebTokenOptions {
  /** The keys, or where they are published; asked again when a token names one that is new. */
  readonly keys: JSONWebKeySet | URL
  /** Who the tokens must be for. */
  readonly audience: string
  /** Name of the claim that has to be the tenant. */
  readonly tenantClaim: string
  /** What time it is, as the library wants it. */
  readonly now: () => Date
}

/**
 * Whether a token opens a tenant.
 * @throws PgnapError TOKEN_KEYS_UNREACHABLE if the keys cannot be fetched
 */
export type TokenCheck = (token: string, tenant: string) => Promise<boolean>

/** All of them prove that the signer has a private key. */
const ALGORITHMS = [
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
  'RS384',
  'RS512',
]
/** Clocks of two machines differ. */
const CLOCK_TOLERANCE_SECONDS = 5
const FETCH_MS_MAX = 5_000

/** Errors of jose that say nothing of the token. */
const UNREACHABLE: ReadonlySet<string> = new Set([
  errors.JWKSTimeout.code,
  errors.JWKSInvalid.code,
  errors.JOSEError.code,
])

/** @throws TypeError or an error of jose if `keys` is no set of keys */
export function webTokenCheck(options: WebTokenOptions): TokenCheck {
  const { keys, audience, tenantClaim, now } = options
  const find =
    keys instanceof URL
      ? createRemoteJWKSet(keys, { timeoutDuration: FETCH_MS_MAX })
      : createLocalJWKSet(keys)
  return async (token, tenant) => {
    try {
      const { payload } = await jwtVerify(token, find, {
        algorithms: ALGORITHMS,
        audience,
        requiredClaims: ['exp', tenantClaim],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        currentDate: now(),
      })
      return payload[tenantClaim] === tenant
    } catch (error) {
      if (error instanceof errors.JOSEError && !UNREACHABLE.has(error.code)) return false
      throw new PgnapError('TOKEN_KEYS_UNREACHABLE', 'the keys of web tokens cannot be fetched', {
        cause: error,
        hint: 'try again; the operator finds the address in --jwks',
      })
    }
  }
}
