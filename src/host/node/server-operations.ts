/**
 * The commands of the admin console that do something, carried out by the main thread: it keeps
 * what is paused (`pause-book.ts`), tells every shard, since a tenant may move, and waits for them.
 *
 * A shard that dies meanwhile holds nothing, and learns what is paused when it starts again: it
 * counts as one that is at rest.
 */
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import type { Operations } from '../../front/operations.ts'
import type { PauseBook } from '../../router/pause-book.ts'
import { CONSOLE_NAME, isTenantName } from '../../router/tenant-name.ts'
import type { ServerUsers } from './server-users.ts'
import type { ShardSet } from './shard/shard-set.ts'
import type { TenantFolder } from './tenant-folder.ts'
import type { Identity } from './tls/identity.ts'

export interface ServerOperationsOptions {
  readonly shards: ShardSet
  readonly pauses: PauseBook
  readonly folder: Pick<TenantFolder, 'has'>
  /** Absent without passwords. */
  readonly users: Pick<ServerUsers, 'readAgain'> | undefined
  /** Absent without TLS. */
  readonly identity: Pick<Identity, 'renew'> | undefined
}

export class ServerOperations implements Operations {
  readonly #options: ServerOperationsOptions

  constructor(options: ServerOperationsOptions) {
    this.#options = options
  }

  paused(): ReturnType<Operations['paused']> {
    return this.#options.pauses.list()
  }

  async pause(database: string | undefined, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const tenant = this.#named('pause', database)
    const { pauses } = this.#options
    const begun = pauses.begin(tenant)
    if (begun === undefined && tenant === undefined) throw outOfPlace('already suspended/paused')
    const aborted = Promise.withResolvers<never>()
    const giveUp = (): void => aborted.reject(signal.reason)
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      await Promise.race([this.#rest(tenant), aborted.promise])
    } catch (error) {
      if (begun !== undefined && pauses.end(tenant, begun)) void this.#tell(tenant, false)
      throw error
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }

  async resume(database: string | undefined): Promise<void> {
    const { pauses } = this.#options
    const tenant = this.#named('resume', database)
    if (!pauses.end(tenant)) {
      throw outOfPlace(
        tenant === undefined
          ? 'pooler is not paused/suspended'
          : `database ${tenant} is not paused`,
      )
    }
    await this.#tell(tenant, false)
  }

  /** The tenant is gone. */
  async forget(tenant: TenantName): Promise<void> {
    if (this.#options.pauses.end(tenant)) await this.#tell(tenant, false)
  }

  async kill(database: string): Promise<void> {
    const tenant = this.#named('kill', database)
    if (tenant === undefined) return
    this.#options.pauses.begin(tenant)
    await this.#tell(tenant, true)
    await this.#options.shards.call(tenant, (shard) => shard.dismissAll(tenant))
  }

  async reconnect(database: string | undefined): Promise<void> {
    const { shards } = this.#options
    const tenant = this.#named('reconnect', database)
    if (tenant !== undefined) return shards.call(tenant, (shard) => shard.renew(tenant))
    await Promise.all(shards.map((shard) => unlessLost(shard.renew(undefined), undefined)))
  }

  /** What may be refused comes first, so that nothing is half done. */
  async reload(): Promise<void> {
    const { users, identity, shards } = this.#options
    const read = await users?.readAgain()
    identity?.renew()
    if (!read) return
    read.adopt()
    await Promise.all(shards.map((shard) => unlessLost(shard.adoptUsers(read.users), undefined)))
  }

  /** Of each shard: what is paused by this is at rest. */
  async #rest(tenant: TenantName | undefined): Promise<void> {
    const { shards } = this.#options
    const rests = shards.map(async (shard) => {
      await shard.setPaused(tenant, true)
      return shard.untilRested(tenant)
    })
    const rested = await Promise.all(rests.map((rest) => unlessLost(rest, true)))
    if (rested.every(Boolean)) return
    throw new PgnapError('QUERY_CANCELED', 'it was resumed before it was at rest', {
      hint: 'somebody else has said RESUME; say PAUSE again',
    })
  }

  async #tell(tenant: TenantName | undefined, paused: boolean): Promise<void> {
    const told = this.#options.shards.map((shard) => shard.setPaused(tenant, paused))
    await Promise.all(told.map((each) => unlessLost(each, undefined)))
  }

  /** @throws PgnapError TENANT_UNKNOWN, OPERATION_OUT_OF_PLACE */
  #named(verb: string, database: string | undefined): TenantName | undefined {
    if (database === undefined) return undefined
    if (database === CONSOLE_NAME) throw outOfPlace(`cannot ${verb} admin db: ${database}`)
    if (isTenantName(database) && this.#options.folder.has(database)) return database
    const shown = JSON.stringify(database.slice(0, 63)).slice(1, -1)
    throw new PgnapError('TENANT_UNKNOWN', `no such database: ${shown}`, {
      hint: 'SHOW TENANTS lists those in use; one is there when something has been stored in it',
    })
  }
}

/** The thread of a shard that is lost reads what it has to know when it is started again. */
async function unlessLost<Result>(asked: Promise<Result>, otherwise: Result): Promise<Result> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof PgnapError && error.code === 'SHARD_LOST') return otherwise
    throw error
  }
}

function outOfPlace(message: string): PgnapError {
  return new PgnapError('OPERATION_OUT_OF_PLACE', message, {
    hint: 'SHOW STATE and SHOW DATABASES tell what is paused',
  })
}
