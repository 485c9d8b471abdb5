/**
 * The torture: rounds of work, death and examination on one data folder. A round that finds
 * anything wrong ends it; the data folder is kept, and the message says how to run the same
 * choices again.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { checkTenants } from './check.ts'
import { TenantLedger } from './ledger.ts'
import { mixSeed, planRound, type RoundPlan } from './plan.ts'
import { type Ports, ServerProcess } from './server-process.ts'
import { Tally } from './tally.ts'
import { type StoreEngine, storeEngine, verifyStores } from './verify-stores.ts'
import { WireClient } from './wire-client.ts'
import { within } from './within.ts'
import { work } from './workload.ts'

export interface TortureOptions {
  readonly seed: number
  readonly rounds: number
  readonly tenants: number
  readonly clients: number
  readonly shards: number
  readonly slots: number
  /** Told about each round. */
  readonly report: (line: string) => void
}

/** Far longer than it takes: beyond, a tenant is stuck. */
const CHECK_MS_MAX = 180_000

/** A round found something wrong. */
export class TortureFailure extends Error {
  override readonly name = 'TortureFailure'
}

/** Runs all rounds. Rejects with {@link TortureFailure}. */
export async function torture(options: TortureOptions): Promise<Tally> {
  await using run = await Torture.begin(options)
  for (let round = 1; round <= options.rounds; round++) await run.round(round)
  return run.tally
}

/** One run: a data folder, the ledgers of its tenants, and a server between rounds. */
export class Torture implements AsyncDisposable {
  readonly tally: Tally = new Tally()
  readonly ledgers: ReadonlyMap<string, TenantLedger>
  readonly #options: TortureOptions
  readonly #engine: StoreEngine
  readonly #folder: string
  #server: ServerProcess | undefined
  #ports: Ports = { port: 0, httpPort: 0 }
  #failed = false

  private constructor(options: TortureOptions, engine: StoreEngine) {
    this.#options = options
    this.#engine = engine
    this.#folder = mkdtempSync(join(tmpdir(), 'pgnap-torture-'))
    const names = Array.from({ length: options.tenants }, (_, index) => `tenant${index}`)
    this.ledgers = new Map(names.map((name) => [name, new TenantLedger()]))
  }

  /** Starts a server on an empty data folder. */
  static async begin(options: TortureOptions): Promise<Torture> {
    const run = new Torture(options, await storeEngine())
    await run.#start()
    return run
  }

  /** Where the server listens now. */
  get ports(): Ports {
    return this.#ports
  }

  /** Works, kills, examines. Rejects with {@link TortureFailure}. */
  async round(round: number): Promise<void> {
    const plan = planRound(this.#options.seed, round)
    try {
      await this.#work(plan, mixSeed(this.#options.seed, round, 0))
      await this.#aftermath(plan, round)
      this.#verify()
      await this.#start()
      await this.check()
    } catch (error) {
      throw this.#failure(round, plan, error)
    }
    this.tally.rounds++
    this.#options.report(`round ${round} ${planText(plan)}: ${this.tally.summary()}`)
  }

  /** Compares all tenants of the running server with their ledgers. */
  async check(): Promise<void> {
    const { ledgers: tenants, tally } = this
    const checking = checkTenants({ port: this.#ports.port, tenants, tally })
    const problems = await within(CHECK_MS_MAX, checking, 'the tenants could not be examined')
    if (problems.length > 0) throw new Error(problems.join('\n'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.kill()
    if (!this.#failed) rmSync(this.#folder, { recursive: true, force: true })
  }

  async #start(): Promise<void> {
    this.#ports = await this.#spawn().ready()
  }

  #spawn(): ServerProcess {
    const { shards, slots } = this.#options
    this.tally.starts++
    this.#server = new ServerProcess({ data: join(this.#folder, 'data'), shards, slots })
    return this.#server
  }

  async #work(plan: Omit<RoundPlan, 'aftermath'>, seed: number): Promise<void> {
    const server = this.#server
    if (!server) throw new Error('there is no server to work with')
    const { moment, ending, calmMs } = plan
    const clientCount = this.#options.clients
    const { tally, ledgers: tenants } = this
    const ports = this.#ports
    await work({ server, ports, tenants, clientCount, seed, moment, ending, calmMs, tally })
  }

  async #aftermath({ aftermath }: RoundPlan, round: number): Promise<void> {
    switch (aftermath.kind) {
      case 'none':
        return
      case 'start': {
        const server = this.#spawn()
        await delay(aftermath.afterMs)
        return this.#kill(server)
      }
      case 'wake': {
        await this.#start()
        const { port } = this.#ports
        const waking = [...this.ledgers.keys()].map((tenant) => knock(port, tenant))
        await delay(aftermath.afterMs)
        await this.#kill(this.#server)
        await Promise.all(waking)
        return
      }
      case 'again': {
        await this.#resume()
        const seed = mixSeed(this.#options.seed, round, 1)
        return this.#work({ moment: aftermath.moment, ending: 'kill', calmMs: 0 }, seed)
      }
    }
  }

  /** Starts again, and finds out what became of messages that had no answer. */
  async #resume(): Promise<void> {
    await this.#start()
    await this.check()
  }

  async #kill(server: ServerProcess | undefined): Promise<void> {
    await server?.kill()
    this.tally.kills++
  }

  #verify(): void {
    const copy = join(this.#folder, 'after-the-kill')
    const { problems, storeCount } = verifyStores(join(this.#folder, 'data'), copy, this.#engine)
    this.tally.storesVerified += storeCount
    if (problems.length > 0) throw new Error(problems.join('\n'))
  }

  #failure(round: number, plan: RoundPlan, cause: unknown): TortureFailure {
    this.#failed = true
    const { seed, tenants, clients, shards, slots } = this.#options
    const size = `--tenants ${tenants} --clients ${clients} --shards ${shards} --slots ${slots}`
    const why = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
    const lines = [
      `seed ${seed}, round ${round}: ${planText(plan)}`,
      why,
      `again: npm run torture -- --seed ${seed} --rounds ${round} ${size}`,
      `data kept in ${this.#folder}`,
      `the server's last words:\n${this.#server?.output ?? ''}`,
    ]
    return new TortureFailure(lines.join('\n'), { cause })
  }
}

/** Wakes a tenant; what comes of it does not matter. */
async function knock(port: number, tenant: string): Promise<void> {
  try {
    const wire = await WireClient.open(port, tenant)
    await wire.ask('select 1')
  } catch {
    // The server is killed in the middle of this.
  }
}

function planText({ moment, ending, calmMs, aftermath }: RoundPlan): string {
  const { operation = 'message', count, delayUs } = moment
  const calm = calmMs > 0 ? `, calm ${calmMs} ms` : ''
  return `(${ending} at ${operation} ${count} + ${delayUs} us${calm}, then ${aftermath.kind})`
}
