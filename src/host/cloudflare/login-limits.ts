/**
 * Who has been wrong too often has to wait, as on Node. Each isolate counts for itself: none can
 * see another, so whoever reaches more of them has as many guesses in each.
 */
import { LIMITS } from '../../base/limits.ts'
import type { LoginLimiter } from '../../router/login-attempts.ts'
import { allocateLogins, SharedLoginLimiter } from '../login-limiter.ts'
import { workerClock } from './clock.ts'
import { workerRandom } from './random.ts'

const SECRET_BYTES = 32

let limiter: LoginLimiter | undefined

/** That of this isolate. */
export function theLoginLimiter(): LoginLimiter {
  return (limiter ??= new SharedLoginLimiter({
    logins: allocateLogins(workerClock.nowMs(), LIMITS.isolateLoginCellsPerRow),
    secret: workerRandom.bytes(SECRET_BYTES),
    addressFailuresMax: LIMITS.loginFailuresPerAddressMax,
    setting: '',
    clock: workerClock,
  }))
}
