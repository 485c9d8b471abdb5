/** The shipped Workers of the comparison, with doors through which a test makes things fail. */
import worker, {
  Compute as ShippedWorker,
  ComputeObject as ShippedCompute,
  ConsumerObject,
  DirectoryObject,
  Factory,
  HybridObject as ShippedHybrid,
  LazyObject as ShippedLazy,
  RouterObject,
  StateObject as ShippedObject,
  TenantObject,
  TraditionalObject,
} from '../../../src/host/cloudflare/architectures/main.ts'
import type * as environments from '../../../src/host/cloudflare/architectures/environment.ts'
import type {
  ComputeRequest,
  HomeAddress,
} from '../../../src/host/cloudflare/architectures/compute.ts'
import type { Outcome } from '../../../src/host/cloudflare/outcome.ts'
import type { TenantName } from '../../../src/base/ids.ts'
import type { Delivery, FetchRequest, Receipt, Slice } from '../../../src/replica/home.ts'
import { type Fault, HomeFaults } from './home-faults.ts'

export { ConsumerObject, DirectoryObject, Factory, RouterObject, TenantObject, TraditionalObject }

export class StateObject extends ShippedObject {
  readonly #faults = new HomeFaults(this.ctx.storage)

  async fail(fault: Fault | undefined): Promise<void> {
    this.#faults.set(fault)
  }

  /** Ends this incarnation; the next request makes another one. */
  async end(): Promise<void> {
    this.ctx.abort('a test ends this object')
  }

  override fetchRows(request: FetchRequest): Promise<Outcome<Slice>> {
    return this.#faults.call('fetchRows', () => super.fetchRows(request))
  }

  override deliver(delivery: Delivery): Promise<Outcome<Receipt>> {
    return this.#faults.call('deliver', () => super.deliver(delivery))
  }
}

export class LazyObject extends ShippedLazy {
  readonly #faults = new HomeFaults(this.ctx.storage)

  async fail(fault: Fault | undefined): Promise<void> {
    this.#faults.set(fault)
  }

  override fetchRows(request: FetchRequest): Promise<Outcome<Slice>> {
    return this.#faults.call('fetchRows', () => super.fetchRows(request))
  }

  override deliver(delivery: Delivery): Promise<Outcome<Receipt>> {
    return this.#faults.call('deliver', () => super.deliver(delivery))
  }
}

export class HybridObject extends ShippedHybrid {
  readonly #faults = new HomeFaults(this.ctx.storage)

  async fail(fault: Fault | undefined): Promise<void> {
    this.#faults.set(fault)
  }

  async break(isBroken: boolean): Promise<void> {
    this.#faults.break(isBroken)
  }

  override fetchRows(request: FetchRequest): Promise<Outcome<Slice>> {
    return this.#faults.call('fetchRows', () => super.fetchRows(request))
  }

  override deliver(delivery: Delivery): Promise<Outcome<Receipt>> {
    return this.#faults.call('deliver', () => super.deliver(delivery))
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
  readonly HYBRIDS: DurableObjectNamespace<HybridObject>
  readonly LAZIES: DurableObjectNamespace<LazyObject>
  readonly COMPUTE: Service<Compute>
  readonly COMPUTES: DurableObjectNamespace<ComputeObject>
}

const handler: ExportedHandler<Doors> = {
  async fetch(request, environment, context) {
    const url = new URL(request.url)
    const [, door, object = '', tenant = ''] = url.pathname.split('/')
    const home = addressOf(object, tenant as TenantName)
    if (door === 'fail') {
      const fault = url.searchParams.get('what') === null ? undefined : faultIn(url.searchParams)
      await environment[home.kind].getByName(home.object).fail(fault)
    } else if (door === 'break' || door === 'mend') {
      await environment.HYBRIDS.getByName(tenant).break(door === 'break')
    } else if (door === 'drop') {
      await environment.COMPUTES.getByName('shared').dropNext(object as Drop)
    } else if (door === 'lose') await environment.COMPUTE.loseNext(object)
    else if (door === 'end') {
      await environment.STATES.getByName(home.object)
        .end()
        .catch(() => {})
    } else if (door === 'delegated') {
      return delegated(request, environment, addressOf('hybrid', object as TenantName))
    } else if (door === 'second') return second(request, environment, home)
    else return (await worker.fetch?.(request, environment, context)) ?? new Response()
    return new Response()
  },
}
export default handler

function faultIn(asked: URLSearchParams): Fault {
  const left = Number(asked.get('times') ?? 1)
  return { call: asked.get('call'), what: asked.get('what'), left } as Fault
}

/** Where a tenant of an architecture is at home. */
function addressOf(architecture: string, tenant: TenantName): HomeAddress {
  if (architecture === 'hybrid') return { kind: 'HYBRIDS', object: tenant, tenant }
  if (architecture === 'lazy-wasm') return { kind: 'LAZIES', object: tenant, tenant }
  return { kind: 'STATES', object: `${architecture}/${tenant}`, tenant }
}

async function requestFor(home: HomeAddress, request: Request): Promise<ComputeRequest> {
  const { sql } = (await request.json()) as { sql: string }
  return { home, load: 'image', write: 'sync', statement: { sql, parameters: [] } }
}

/** The compute Worker, for a tenant whose object has not asked for it. */
async function delegated(
  request: Request,
  { COMPUTE }: Doors,
  home: HomeAddress,
): Promise<Response> {
  return Response.json(await COMPUTE.query(await requestFor(home, request)))
}

/** Another compute than that of the architecture: of those that reach its homes. */
async function second(request: Request, doors: Doors, home: HomeAddress): Promise<Response> {
  if (home.object.startsWith('factory/')) return delegated(request, doors, home)
  const asked = await requestFor(home, request)
  if (home.kind === 'STATES') return Response.json(await doors.FACTORY.query(asked))
  return Response.json(await doors.COMPUTES.getByName('second').query(asked))
}
