/** The check of web tokens, from what the configuration says of their keys. */
import { readFileSync } from 'node:fs'
import { PgnapError, errorText } from '../../base/errors.ts'
import { isLoopback } from '../../base/loopback.ts'
import { type TokenCheck, type WebTokenOptions, webTokenCheck } from '../../router/web-tokens.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config.ts'

/**
 * Undefined if there are none. A file is read now; an address is asked when a token comes.
 * @throws PgnapError CONFIG_INVALID
 */
export function configuredTokenCheck(config: Config): TokenCheck | undefined {
  const { jwks, jwtAudience: audience, jwtTenantClaim: tenantClaim } = config
  if (jwks === undefined || audience === undefined) return undefined
  const now = (): Date => new Date(systemClock.nowMs())
  try {
    return webTokenCheck({ keys: keysOf(jwks), audience, tenantClaim, now })
  } catch (cause) {
    if (cause instanceof PgnapError) throw cause
    const why = errorText(cause)
    throw new PgnapError('CONFIG_INVALID', `jwks: ${jwks} cannot be used: ${why}`, {
      hint: 'name a file {"keys": [...]} as RFC 7517 has it, or the https URL of one',
      cause,
    })
  }
}

function keysOf(jwks: string): WebTokenOptions['keys'] {
  const url = URL.parse(jwks)
  if (!url || !/^https?:$/.test(url.protocol)) {
    return JSON.parse(readFileSync(jwks, 'utf8')) as Exclude<WebTokenOptions['keys'], URL>
  }
  if (url.protocol === 'https:' || isLoopback(url.hostname)) return url
  throw new PgnapError('CONFIG_INVALID', 'jwks: keys that come in the clear prove nothing', {
    hint: 'use an https URL, or a file',
  })
}
