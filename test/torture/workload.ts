/**
 * Clients at work until the server is gone. Each has its own randomness, drawn from seed, round
 * and client number, and walks from tenant to tenant; with fewer slots than tenants, most of its
 * arrivals push somebody else out of a slot.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { SeededRandom } from '../../src/base/random.ts'
import type { TenantLedger } from './ledger.ts'
import { someOperation } from './operations/all.ts'
import { openBank } from './operations/bank.ts'
import { openDomain } from './operations/schema.ts'
import { mixSeed, type Moment } from './plan.ts'
import type { Ports, ServerProcess } from './server-process.ts'
import { Session, type Trigger, UnexpectedAnswer } from './session.ts'
import type { Tally } from './tally.ts'
import { WireClient } from './wire-client.ts'
import { within } from './within.ts'

/** Operations of one stay of a client in a tenant. */
const STAY_OPERATIONS_MAX = 8
/** The moment of a plan may never come, if nobody happens to do what it waits for. */
const WORK_MS_MAX = 2_500
/**
 * Longest wait of a client on a machine that is busy with other things; beyond, somebody is stuck.
 */
const ANSWER_MS_MAX = 60_000
/** What a server may say while it stops in an orderly way. */
const FAREWELLS: ReadonlySet<string> = new Set(['57P01', '57P03', '503'])

export interface WorkloadOptions {
  readonly server: ServerProcess
  readonly ports: Ports
  readonly tenants: ReadonlyMap<string, TenantLedger>
  readonly clientCount: number
  /** Names this piece of work; the same numbers make the same choices. */
  readonly seed: number
  readonly moment: Moment
  readonly ending: 'kill' | 'stop'
  readonly calmMs: number
  readonly tally: Tally
}

/** Waits for the planned moment, in the middle of the call that sends its message. */
class MomentTrigger implements Trigger {
  readonly reached: Promise<void>
  readonly #moment: Moment
  readonly #resolve: () => void
  #count = 0

  constructor(moment: Moment) {
    this.#moment = moment
    const { promise, resolve } = Promise.withResolvers<void>()
    this.reached = promise
    this.#resolve = resolve
  }

  sent(operation: string): void {
    const wanted = this.#moment.operation
    if (wanted !== undefined && wanted !== operation) return
    if (++this.#count !== this.#moment.count) return
    // A timer would be a millisecond late or more; what it is to hit is shorter.
    const untilMs = performance.now() + this.#moment.delayUs / 1_000
    while (performance.now() < untilMs);
    this.#resolve()
  }
}

/**
 * Works until the planned moment and ends the server then. Returns when the server is gone and
 * every client has noticed. Rejects if a client was answered wrongly, or the server died by
 * itself.
 */
export async function work(options: WorkloadOptions): Promise<void> {
  const { server, moment, calmMs, ending, tally } = options
  const trigger = new MomentTrigger(moment)
  const crew = new Crew(options, trigger)
  const clients = Array.from({ length: options.clientCount }, (_, index) => crew.client(index))
  const timeUp = new AbortController()
  const failing = crew.failed.promise
  const waiting = delay(WORK_MS_MAX, undefined, { signal: timeUp.signal }).catch(() => {})
  await Promise.race([trigger.reached, waiting, failing])
  timeUp.abort()
  if (calmMs > 0) {
    crew.leaving = true
    const left = Promise.race([Promise.all(clients), failing])
    await within(ANSWER_MS_MAX, left, 'clients did not get their answers')
    await delay(calmMs)
  }
  crew.ended = ending
  if (ending === 'kill') {
    await server.kill()
    tally.kills++
  } else {
    const status = await server.stop()
    tally.drains++
    if (status !== 0) crew.failed.resolve(new Error(`a stopped server exits with ${status}`))
  }
  await Promise.all(clients)
  if (crew.failure) throw crew.failure
}

class Crew {
  /** Clients finish what they do and go. */
  leaving = false
  /** How the server was ended, once it was. */
  ended: 'kill' | 'stop' | undefined
  readonly failed = Promise.withResolvers<Error>()
  failure: Error | undefined
  readonly #options: WorkloadOptions
  readonly #trigger: Trigger

  constructor(options: WorkloadOptions, trigger: Trigger) {
    this.#options = options
    this.#trigger = trigger
    void this.failed.promise.then((error) => (this.failure ??= error))
  }

  async client(index: number): Promise<void> {
    const random = new SeededRandom(mixSeed(this.#options.seed, index))
    const tenants = [...this.#options.tenants.keys()]
    try {
      while (!this.leaving && this.ended === undefined) {
        const tenant = tenants[random.below(tenants.length)] ?? ''
        await this.#stay(index, tenant, random)
      }
    } catch (error) {
      if (this.#mayHappen(error)) return
      this.failed.resolve(error instanceof Error ? error : new Error(String(error)))
    }
  }

  async #stay(client: number, tenant: string, random: SeededRandom): Promise<void> {
    const { ports, tenants, tally } = this.#options
    const wire = await WireClient.open(ports.port, tenant)
    const ledger = tenants.get(tenant)
    if (!ledger) throw new Error(`nobody keeps a ledger of ${tenant}`)
    const trigger = this.#trigger
    const { httpPort } = ports
    const session = new Session({ tenant, client, wire, ledger, random, trigger, tally, httpPort })
    try {
      session.operation = 'open'
      if (session.bank.opened !== 'yes') await openBank(session)
      if (session.domain.expected.tables.size === 0) await openDomain(session)
      for (let left = 1 + random.below(STAY_OPERATIONS_MAX); left > 0; left--) {
        const operation = someOperation(random)
        session.operation = operation.name
        await operation.run(session)
        if (operation.name === 'cutOff' || this.leaving) return
      }
    } finally {
      wire.close()
    }
  }

  /** Whether what a client met is no more than the end of the server. */
  #mayHappen(error: unknown): boolean {
    if (this.ended === undefined) return false
    if (!(error instanceof UnexpectedAnswer)) return true
    return this.ended === 'stop' && FAREWELLS.has(error.got)
  }
}
