/** The shipped Workers of the comparison, with doors through which a test makes things fail. */
import worker, {
  Compute as ShippedWorker,
  ComputeObject as ShippedCompute,
  ConsumerObject,
  DirectoryObject,
  Factory,
  HybridObject,
  RouterObject,
  StateObject as ShippedObject,
  TenantObject,
} from '../../../src/host/cloudflare/architectures/main.ts'
import type * as environments from '../../../src/host/cloudflare/architectures/environment.ts'
import type { Outcome } from '../../../src/host/cloudflare/outcome.ts'
import type { TenantName } from '../../../src/base/ids.ts'
import type { Delivery, FetchRequest, Receipt, Slice } from '../../../src/replica/home.ts'

export { ConsumerObject, DirectoryObject, Factory, HybridObject, RouterObject, TenantObject }

/** What happens to the next calls of a home. */
interface Fault {
  readonly call: 'fetchRows' | 'deliver'
  readonly what: 'request-lost' | 'answer-lost' | 'no-answer' | 'storage'
  left: number
}

export class StateObject extends ShippedObject {
  #fault: Fault | undefined

  async fail(fault: Fault | undefined): Promise<void> {
    this.#fault = fault
  }

  /** Ends this incarnation; the next request makes another one. */
  async end(): Promise<void> {
    this.ctx.abort('a test ends this object')
  }

  override fetchRows(request: FetchRequest): Promise<Outcome<Slice>> {
    return this.#call('fetchRows', () => super.fetchRows(request))
  }

  override deliver(delivery: Delivery): Promise<Outcome<Receipt>> {
    return this.#call('deliver', () => super.deliver(delivery))
  }

  async #call<Result>(call: Fault['call'], work: () => Promise<Result>): Promise<Result> {
    const fault = this.#fault
    if (!fault || fault.call !== call || fault.left === 0) return work()
    fault.left--
    switch (fault.what) {
      case 'request-lost':
        throw new Error('a test has lost this request')
      case 'answer-lost':
        await work()
        throw new Error('a test has lost this answer')
      case 'no-answer':
        return new Promise(() => {})
      case 'storage':
        return this.#withBrokenStorage(work)
    }
  }

  async #withBrokenStorage<Result>(work: () => Promise<Result>): Promise<Result> {
    const { storage } = this.ctx
    const fail = (): never => {
      throw new Error('disk I/O error: SQLITE_IOERR')
    }
    Object.defineProperty(storage, 'transactionSync', { value: fail, configurable: true })
    try {
      return await work()
    } finally {
      Reflect.deleteProperty(storage, 'transactionSync')
    }
  }
}

/** In the isolate of the compute Worker: what of its next question gets lost. */
let lost: string | undefined

export class Compute extends ShippedWorker {
  async loseNext(what: string): Promise<void> {
    lost = what
  }

  override async query(
    ...asked: Parameters<ShippedWorker['query']>
  ): ReturnType<ShippedWorker['query']> {
    const what = lost
    lost = undefined
    if (what === 'request-lost') throw new Error('a test has ended this compute')
    const answer = await super.query(...asked)
    if (what === 'answer-lost') throw new Error('a test has ended this compute')
    return answer
  }
}

/** When the next questions over a WebSocket drop it. */
type Drop = 'unheard' | 'unanswered'

export class ComputeObject extends ShippedCompute {
  #drop: Drop | undefined

  async dropNext(drop: Drop): Promise<void> {
    this.#drop = drop
  }

  override async webSocketMessage(socket: WebSocket, message: ArrayBuffer | string): Promise<void> {
    const drop = this.#drop
    this.#drop = undefined
    if (drop === 'unheard') return socket.close(1012, 'a test drops it')
    if (drop === undefined) return super.webSocketMessage(socket, message)
    const deaf = new Proxy(socket, {
      get: (target, key): unknown =>
        key === 'send'
          ? () => target.close(1012, 'a test drops it')
          : Reflect.get(target, key, target),
    })
    await super.webSocketMessage(deaf, message)
  }
}

interface Doors extends environments.ArchitecturesEnvironment {
  readonly STATES: DurableObjectNamespace<StateObject>
  readonly COMPUTE: Service<Compute>
  readonly COMPUTES: DurableObjectNamespace<ComputeObject>
}

const handler: ExportedHandler<Doors> = {
  async fetch(request, environment, context) {
    const url = new URL(request.url)
    const [, door, object = '', tenant = ''] = url.pathname.split('/')
    const state = environment.STATES.getByName(`${object}/${tenant}`)
    if (door === 'fail') {
      const fault = url.searchParams.get('what') === null ? undefined : faultIn(url.searchParams)
      await state.fail(fault)
    } else if (door === 'drop') {
      await environment.COMPUTES.getByName('shared').dropNext(object as Drop)
    } else if (door === 'lose') await environment.COMPUTE.loseNext(object)
    else if (door === 'end') await state.end().catch(() => {})
    else if (door === 'delegated') return delegated(request, environment, object as TenantName)
    else if (door === 'second') return second(request, environment, { object, tenant })
    else return (await worker.fetch?.(request, environment, context)) ?? new Response()
    return new Response()
  },
}
export default handler

function faultIn(asked: URLSearchParams): Fault {
  const left = Number(asked.get('times') ?? 1)
  return { call: asked.get('call'), what: asked.get('what'), left } as Fault
}

/** The compute Worker, for a tenant of `/hybrid` whose object has not asked for it. */
async function delegated(
  request: Request,
  { COMPUTE }: Doors,
  tenant: TenantName,
): Promise<Response> {
  const { sql } = (await request.json()) as { sql: string }
  const home = { kind: 'HYBRIDS', object: tenant, tenant } as const
  const statement = { sql, parameters: [] }
  return Response.json(await COMPUTE.query({ home, load: 'image', write: 'sync', statement }))
}

/** Another compute, in an isolate of its own, for a tenant that the compute Worker may have. */
async function second(
  request: Request,
  { FACTORY }: Doors,
  { object, tenant }: { object: string; tenant: string },
): Promise<Response> {
  const { sql } = (await request.json()) as { sql: string }
  const home = {
    kind: 'STATES',
    object: `${object}/${tenant}`,
    tenant: tenant as TenantName,
  } as const
  const statement = { sql, parameters: [] }
  return Response.json(await FACTORY.query({ home, load: 'image', write: 'sync', statement }))
}
