/**
 * Who may use a server, put together: administrators of the password file, roles of the control
 * database, and what makes roles. Loaded only by a server with passwords, and by commands that make
 * roles for one.
 */
import type { TenantName } from '../../base/ids.ts'
import type { Credentials, UserList } from '../../router/credentials.ts'
import type { LoginLimiter } from '../../router/login-attempts.ts'
import { Users } from '../../router/users.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config.ts'
import { ControlDatabase } from './control-database.ts'
import { type SharedLogins, SharedLoginLimiter, allocateLogins } from '../login-limiter.ts'
import { systemRandom } from './random.ts'
import { readCredentials } from './read-credentials.ts'
import { TenantRoles } from './tenant-roles.ts'

export interface ServerUsers extends Disposable {
  /** Undefined under `trust`, as `users`. Rejects with CONFIG_INVALID. */
  readonly administrators: Promise<Credentials | undefined>
  readonly users: Promise<Users | undefined>
  readonly roles: TenantRoles
  /** Reads the password file again, if there is one. Rejects with CONFIG_INVALID. */
  readAgain(): Promise<UsersRead | undefined>
  /** See `saltOf`. */
  readonly saltSecret: Uint8Array<ArrayBuffer>
  readonly limiter: LoginLimiter
  /** Of the limiter, for other threads to make their own of. */
  readonly logins: SharedLogins
}

/** What the password file holds now. */
export interface UsersRead {
  readonly users: UserList
  /** Has this thread go by it. */
  adopt(): void
}

export interface ServerUsersOptions {
  readonly dataPath: string
  readonly exists: (tenant: TenantName) => boolean
}

/** Throws as `ControlDatabase.create`. */
export function openServerUsers(
  config: Config,
  { dataPath, exists }: ServerUsersOptions,
): ServerUsers {
  const database = ControlDatabase.create(dataPath, systemRandom)
  const { saltSecret } = database
  const { loginFailuresMax, tellUnknownTenants: tellsUnknown } = config
  const administrators = readCredentials(config, systemRandom, saltSecret)
  const users = administrators.then(
    (known) => known && new Users({ administrators: known, roles: database, exists, tellsUnknown }),
  )
  // Awaited by the listeners, which come later.
  users.catch(() => {})
  const clock = systemClock
  const logins = allocateLogins(clock.nowMs())
  const limiter = new SharedLoginLimiter({
    logins,
    secret: saltSecret,
    addressFailuresMax: loginFailuresMax,
    clock,
  })
  const roles = new TenantRoles({ database, administrators, config, clock, random: systemRandom })
  const readAgain = async (): Promise<UsersRead | undefined> => {
    const known = await administrators
    const read = await readCredentials(config, systemRandom, saltSecret)
    if (!known || !read) return undefined
    return { users: read.list(), adopt: () => known.adopt(read.list()) }
  }
  return {
    administrators,
    readAgain,
    users,
    roles,
    saltSecret,
    limiter,
    logins,
    [Symbol.dispose]: () => database[Symbol.dispose](),
  }
}
