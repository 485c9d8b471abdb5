/** Who may ask a Worker, from its settings and secrets. */
import type { Context } from 'hono'
import { utf8 } from '../../base/bytes.ts'
import { PgnapError } from '../../base/errors.ts'
import type { GuardAdvice, GuardOptions } from '../../front/http/guard.ts'
import { Credentials } from '../../router/credentials.ts'
import { makeVerifier } from '../../router/scram-verifier.ts'
import { Users } from '../../router/users.ts'
import { passwordCheck } from '../password-check.ts'
import type { Environment } from './environment.ts'
import { theLoginLimiter } from './login-limits.ts'
import { workerRandom } from './random.ts'

/** Shorter ones can be guessed, or are a mistake. */
const TOKEN_CHARS_MIN = 16
const ADVICE: GuardAdvice = {
  host: 'allow the name in PGNAP_HOSTS',
  origin:
    'allow the origin in PGNAP_ORIGINS; with passwords (PGNAP_USERS) any may use /sql and /v2',
}

/**
 * Roles of single tenants are not kept here, so everybody with a password is an administrator.
 * @throws PgnapError CONFIG_INVALID
 */
export async function guardOf(environment: Environment): Promise<GuardOptions> {
  const { PGNAP_USERS, PGNAP_ADMIN_TOKEN, PGNAP_HOSTS, PGNAP_ORIGINS, PGNAP_DOMAIN } = environment
  const authenticate = await passwordCheck(await usersOf(PGNAP_USERS), workerRandom)
  return {
    allowedHosts: listed(PGNAP_HOSTS),
    allowedOrigins: listed(PGNAP_ORIGINS),
    domain: PGNAP_DOMAIN,
    advice: ADVICE,
    addressOf: ({ req }: Context) => req.header('CF-Connecting-IP') ?? '',
    ...(authenticate ? { authenticate, limiter: theLoginLimiter() } : {}),
    ...(PGNAP_ADMIN_TOKEN === undefined ? {} : { isAdminToken: tokenCheck(PGNAP_ADMIN_TOKEN) }),
  }
}

/** By the text that they were read from: each of them costs some milliseconds of hashing. */
const known = new Map<string, Users>()

/** Undefined if nobody is asked for a password. Errors: as of {@link guardOf}. */
export async function usersOf(text: string | undefined): Promise<Users | undefined> {
  if (text === undefined) return undefined
  const users = known.get(text) ?? (await readUsers(text))
  known.set(text, users)
  return users
}

async function readUsers(text: string): Promise<Users> {
  const administrators = await Credentials.parse(text, (password) =>
    makeVerifier(password, workerRandom),
  )
  return new Users({
    administrators,
    roles: { verifierOf: () => undefined },
    exists: () => true,
    tellsUnknown: false,
  })
}

function listed(text = ''): string[] {
  return text
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
}

/** Whether a token is the right one. Its time depends on the length of what is given only. */
function tokenCheck(token: string): (given: string) => boolean {
  if (token.length < TOKEN_CHARS_MIN) {
    throw new PgnapError('CONFIG_INVALID', 'PGNAP_ADMIN_TOKEN is too short', {
      hint: `use at least ${TOKEN_CHARS_MIN} characters, such as: openssl rand -hex 32`,
    })
  }
  const right = utf8(token)
  return (given) => {
    const bytes = utf8(given)
    if (bytes.length !== right.length) return false
    return crypto.subtle.timingSafeEqual(bytes, right)
  }
}
