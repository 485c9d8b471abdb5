/**
 * One tenant: a Durable Object that has its store in its own storage, and a pool of its own over
 * the slot that all objects of the isolate share (`isolate.ts`).
 *
 * What an object does for a request, from taking the slot to the commit, is synchronous, so that no
 * other object comes in between; only then it answers, and the platform holds the answer back until
 * the commit is durable. Timers, waiting requests and upkeep are the pool's, and so this object's:
 * nothing here ever happens in another object's name.
 *
 * Losing the object loses nothing that was acknowledged. Losing the isolate loses images, which are
 * a cache.
 */
import { DurableObject } from 'cloudflare:workers'
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import { LIMITS } from '../../base/limits.ts'
import type { SyncDelayFacts } from '../../base/sync-delay.ts'
import { POSTGRES_VERSION } from '../../engine/recipe.ts'
import type {
  Answer,
  Batch,
  BatchAnswer,
  Bookmark,
  Peer,
  Statement,
  StoreFacts,
  TenantState,
} from '../../front/control.ts'
import { parseTenantName } from '../../router/tenant-name.ts'
import type { Users } from '../../router/users.ts'
import { Call } from '../call.ts'
import { STATE_OF_PHASE } from '../pool-facts.ts'
import type { RemoteError } from '../remote-error.ts'
import { workerClock } from './clock.ts'
import { bookmarkAt, checkBookmark, restoreNext } from './bookmarks.ts'
import { clientBytes } from './client-bytes.ts'
import { consoleLog } from './console-log.ts'
import { DIRECTORY_NAME, type Environment } from './environment.ts'
import { usersOf } from './guard.ts'
import { isolateFacts, theIsolate } from './isolate.ts'
import type { IsolateFacts } from './isolate-facts.ts'
import { noteRequest } from './keep-warm.ts'
import { fetchTemplate, keepTemplate } from './kept-templates.ts'
import { theLoginLimiter } from './login-limits.ts'
import { checkRoom, ObjectGateway } from './object-gateway.ts'
import { type Outcome, outcomeOf, reached } from './outcome.ts'
import { workerRandom } from './random.ts'
import { endOrphan, SleepingConnection, type SocketTag, tagOf } from './sleeping-connection.ts'
import { createsOnConnect } from './settings.ts'
import { TenantRuntime } from './tenant-runtime.ts'
import { upkeepAfterMs } from './upkeep-settings.ts'

/** What is known of one tenant. */
export interface TenantStanding extends StoreFacts {
  readonly state: TenantState
  readonly clients: number
}

/** The same with what `GET /v1/tenants/NAME` has besides. */
export interface TenantShown extends TenantStanding {
  /** Since its memory was made. */
  readonly syncDelay: SyncDelayFacts
  /** When its alarm sees to its upkeep, ms since 1970; undefined: nothing was written since. */
  readonly upkeepDueMs: number | undefined
  readonly isolate: IsolateFacts
}

/** What a list tells of one tenant. */
export type Listed =
  | { readonly result: TenantStanding }
  | { readonly error: RemoteError; readonly storeBytes?: number }

/** How an object knows the tenant of a WebSocket that it is handed. */
export const TENANT_HEADER = 'x-pgnap-tenant'

export class TenantObject extends DurableObject<Environment> {
  readonly #createOnConnect: boolean
  #runtime: TenantRuntime | undefined
  /** Nobody gets in any more: why. */
  #ending: PgnapError | undefined

  constructor(context: DurableObjectState, environment: Environment) {
    super(context, environment)
    this.#createOnConnect = createsOnConnect(environment)
  }

  query(tenant: string, statement: Statement): Promise<Outcome<Answer>> {
    return this.#called(tenant, (call) => call.statement(within(statement)))
  }

  transaction(tenant: string, batch: Batch): Promise<Outcome<BatchAnswer>> {
    return this.#called(tenant, (call) => call.transaction(within(batch)))
  }

  create(tenant: string): Promise<Outcome<TenantStanding>> {
    return this.#doing(async (runtime) => {
      const name = parseTenantName(tenant)
      await this.#list(name)
      runtime.storage.create(name)
      return this.#standing(name)
    })
  }

  /** Sends its clients away, and removes it with all its data. */
  remove(tenant: string): Promise<Outcome<void>> {
    return this.#doing(async (runtime) => {
      const name = parseTenantName(tenant)
      runtime.storage.facts(name)
      const goodbye = new PgnapError('TENANT_UNKNOWN', `database "${name}" has been deleted`, {
        hint: 'where connecting makes tenants, connecting again makes a new, empty one',
      })
      for (const connection of runtime.connections.values()) connection.shutdown(goodbye)
      await runtime.pool.expel(name, goodbye)
      await runtime.storage.remove()
      runtime.forget()
      this.#runtime = undefined
      await reached(this.#directory.remove(name))
    })
  }

  /** Writes a checkpoint and lets go of the slot: the next request finds nothing to recover. */
  nap(tenant: string): Promise<Outcome<TenantStanding>> {
    return this.#doing(async (runtime) => {
      const name = parseTenantName(tenant)
      runtime.storage.facts(name)
      await runtime.prepare()
      runtime.pool.nap(name)
      return this.#standing(name)
    })
  }

  wake(tenant: string): Promise<Outcome<TenantStanding>> {
    return this.#doing(async (runtime) => {
      const name = parseTenantName(tenant)
      runtime.storage.facts(name)
      await this.#enter(name)
      await runtime.prepare()
      await runtime.pool.wake(name)
      return this.#standing(name)
    })
  }

  /** For a list. Of a store that cannot be opened, its size is known all the same. */
  async listed(tenant: string): Promise<Listed> {
    const outcome = await this.#doing(async () => this.#standing(parseTenantName(tenant)))
    if ('result' in outcome) return outcome
    return { ...outcome, storeBytes: this.ctx.storage.sql.databaseSize }
  }

  /** With its delays, and how full the isolate is in which this object lives. */
  show(tenant: string): Promise<Outcome<TenantShown>> {
    return this.#doing(async ({ pool, upkeep }) => ({
      ...this.#standing(parseTenantName(tenant)),
      syncDelay: pool.statistics().syncDelay,
      upkeepDueMs: (await upkeep.dueMs()) ?? undefined,
      isolate: isolateFacts(theIsolate()),
    }))
  }

  /** Of the state that the tenant's storage had at a time, or has now. */
  bookmark(tenant: string, atMs?: number): Promise<Outcome<Bookmark>> {
    return outcomeOf(async () => {
      parseTenantName(tenant)
      return { bookmark: await bookmarkAt(this.ctx.storage, workerClock.nowMs(), atMs) }
    })
  }

  /**
   * The object's next life, which the caller begins by {@link restart}, has the storage as it was
   * at a bookmark. Until then nobody gets in: what was acknowledged would be gone.
   */
  restore(tenant: string, bookmark: string): Promise<Outcome<Bookmark>> {
    return this.#doing(async (runtime) => {
      const name = parseTenantName(tenant)
      checkBookmark(bookmark)
      await bookmarkAt(this.ctx.storage, workerClock.nowMs())
      const goodbye = new PgnapError('SLOT_LOST', `database "${name}" is being restored`, {
        hint: 'connect again: it is as it was at the time of the bookmark',
      })
      this.#ending = goodbye
      try {
        for (const connection of runtime.connections.values()) connection.shutdown(goodbye)
        await runtime.prepare()
        await runtime.pool.expel(name, goodbye)
        const undo = await restoreNext(this.ctx.storage, bookmark)
        // Should nobody come to begin it.
        workerClock.setTimer(LIMITS.restoreRestartMs, () => this.restart())
        // A life that is taken up again by its stamp must not be this one.
        runtime.forget()
        return { bookmark: undo }
      } catch (error) {
        this.#ending = undefined
        throw error
      }
    })
  }

  /** Ends this life; the call fails. */
  restart(): void {
    this.ctx.abort('the object begins anew')
  }

  /** The tenant was written to, and nobody has asked for a while: see `upkeep-alarm.ts`. */
  override async alarm(): Promise<void> {
    const runtime = this.#here
    const step = async (tenant: TenantName): Promise<boolean> => {
      if (!this.#here.storage.exists()) return false
      await this.#enter(tenant)
      // Others may have taken all that was in memory since the last step.
      return this.#here.maintain(tenant)
    }
    const turn = (): Promise<void> => new Promise<void>((resolve) => workerClock.nextTurn(resolve))
    await runtime.during(() => runtime.upkeep.ring({ step, turn }))
  }

  /** A request to become a WebSocket that the Worker has let pass. */
  override async fetch(request: Request): Promise<Response> {
    const tenant = parseTenantName(request.headers.get(TENANT_HEADER) ?? '')
    const users = await usersOf(this.env.PGNAP_USERS)
    const { 0: client, 1: socket } = new WebSocketPair()
    // The platform keeps the socket while the object is put away.
    this.ctx.acceptWebSocket(socket)
    this.#accept(socket, { tenant, users, peer: peerOf(request) })
    return new Response(null, { status: 101, webSocket: client })
  }

  override webSocketMessage(socket: WebSocket, message: ArrayBuffer | string): void {
    const connection = this.#connectionOf(socket)
    if (connection) return connection.receive(socket, message)
    endOrphan(socket)
    this.#runtime?.leaveIfSpent()
  }

  override webSocketClose(socket: WebSocket): void {
    this.#closed(socket)
    // Its Close frame is ours to answer.
    if (socket.readyState === WebSocket.CLOSING) socket.close()
  }

  override webSocketError(socket: WebSocket): void {
    this.#closed(socket)
  }

  #closed(socket: WebSocket): void {
    this.#connectionOf(socket)?.closed()
    // Of a client whose memory had gone before it.
    this.#runtime?.leaveIfSpent()
  }

  #accept(
    socket: WebSocket,
    { tenant, users, peer }: { tenant: TenantName; users: Users | undefined; peer: Peer },
  ): void {
    this.#noteRequest(tenant)
    const runtime = this.#here
    const { epoch, clock, connections } = runtime
    const processId = 1 + workerRandom.below(2 ** 31 - 1)
    socket.serializeAttachment({ processId, epoch } satisfies SocketTag)
    const enter = (): Promise<void> => this.#enter(tenant)
    const connection = new SleepingConnection(socket, {
      gateway: new ObjectGateway({ tenant, runtime, users, enter }),
      clock,
      random: workerRandom,
      log: consoleLog,
      serverVersion: POSTGRES_VERSION,
      processId,
      peer,
      limiter: users && theLoginLimiter(),
      domain: this.env.PGNAP_DOMAIN,
      held: clientBytes,
      onClosed: () => runtime.disconnected(processId),
    })
    connections.set(processId, connection)
  }

  /** Undefined if it has gone with the memory that it was in. */
  #connectionOf(socket: WebSocket): SleepingConnection | undefined {
    if (this.#ending) return undefined
    const tag = tagOf(socket)
    const runtime = this.#here
    return tag?.epoch === runtime.epoch ? runtime.connections.get(tag.processId) : undefined
  }

  #called<Result>(tenant: string, ask: (call: Call) => Promise<Result>): Promise<Outcome<Result>> {
    return this.#doing(async (runtime) => {
      const name = parseTenantName(tenant)
      this.#noteRequest(name)
      await this.#enter(name)
      checkRoom(runtime, name)
      const client = runtime.call(name)
      try {
        return await ask(new Call(client, 0))
      } finally {
        runtime.endCall(client)
      }
    })
  }

  /** Does something with what there is in memory, which stays for as long as that takes. */
  #doing<Result>(work: (runtime: TenantRuntime) => Promise<Result>): Promise<Outcome<Result>> {
    return outcomeOf(async () => {
      const runtime = this.#here
      return runtime.during(() => work(runtime))
    })
  }

  #noteRequest(tenant: TenantName): void {
    noteRequest(this.env, tenant, (work) => this.ctx.waitUntil(work))
  }

  /** What there is in memory, from a former life if that is as good as before. */
  get #here(): TenantRuntime {
    if (this.#ending) throw this.#ending
    return (this.#runtime ??= TenantRuntime.of({
      id: this.ctx.id.toString(),
      storage: this.ctx.storage,
      createMissing: this.#createOnConnect,
      upkeepAfterMs: upkeepAfterMs(this.env),
      sockets: this.ctx.getWebSockets(),
      onSpent: () => (this.#runtime = undefined),
    }))
  }

  /** For a client that may be the first one ever, or the first one after another build. */
  async #enter(tenant: TenantName): Promise<void> {
    const { pool, storage } = this.#here
    if (pool.phaseOf(tenant) === 'awake') return
    const templateId = storage.templateId()
    if (templateId !== undefined) await reached(fetchTemplate(templateId, this.#directory))
    else if (this.#createOnConnect) await this.#list(tenant)
  }

  /** Listed before it exists, so that nothing exists that is not listed. */
  async #list(tenant: TenantName): Promise<void> {
    if (this.#here.storage.exists()) return
    await reached(keepTemplate(this.#directory))
    await reached(this.#directory.add(tenant))
  }

  #standing(tenant: TenantName): TenantStanding {
    const { storage, pool } = this.#here
    const state = STATE_OF_PHASE[pool.phaseOf(tenant)]
    return { ...storage.facts(tenant), state, clients: pool.clientCount }
  }

  get #directory(): ReturnType<Environment['DIRECTORY']['getByName']> {
    return this.env.DIRECTORY.getByName(DIRECTORY_NAME)
  }
}

/** As far as the platform tells: it has no ports. */
function peerOf({ headers, url }: Request): Peer {
  return {
    address: headers.get('CF-Connecting-IP') ?? '',
    port: 0,
    localAddress: '',
    localPort: 0,
    webSocket: true,
    serverName: new URL(url).hostname,
  }
}

/** With a limit of its answer that fits a call between objects. */
function within<Asked extends { readonly answerBytesMax?: number }>(asked: Asked): Asked {
  const { answerBytesMax = Number.POSITIVE_INFINITY } = asked
  return { ...asked, answerBytesMax: Math.min(answerBytesMax, LIMITS.isolateAnswerBytesMax) }
}
