/**
 * Measures one architecture, from outside of its runtime (`method.ts` says what is in a time), in
 * runtimes of its own, so that nobody is warmed by
 * another. First its tenants are made and measured warm; then, in every round, a fresh runtime
 * finds them in its storage: the first one finds everything cold, each further one an isolate that
 * does not know it, and those that are measured a warm one.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { WorkerFiles } from '../../scripts/cloudflare/bundle.ts'
import { type RunningWorker, startArchitectures } from '../../scripts/cloudflare/local.ts'
import { median, type Summary, summarize } from '../statistics.ts'
import type { ArchitectureMemory, ArchitectureTimes } from './results.ts'
import { WARM_UP_MS, WARM_UP_TENANTS_HELD } from './method.ts'
import { runtimeBytes } from './runtime-memory.ts'
import type { BenchRequest } from './bench-request.ts'

const ROWS = 200
const ROW = 7
const TURNS_TENANTS = 4
const TURNS_SHARE = 0.1
const VALUE = `value of row ${ROW}`
const SELECT = `select v from t where id = ${ROW}`
const INSERT = "insert into log (v) values ('one more line of a log that somebody keeps')"
const VALUES = Array.from({ length: ROWS }, (_, id) => `(${id}, 'value of row ${id}')`)
const MAKE: readonly string[] = [
  'create table t (id integer primary key, v text)',
  'create table log (v text)',
  `insert into t values ${VALUES.join()}`,
]

export interface MeasureOptions {
  readonly files: WorkerFiles
  /** Where storage goes. */
  readonly folder: string
  readonly rounds: number
  readonly tenants: number
  /** Before those of a round, at most. */
  readonly warmUpTenants: number
  /** Statements of one measurement of a warm tenant. */
  readonly statements: number
}

export interface Measured {
  readonly times: ArchitectureTimes
  readonly memory: ArchitectureMemory
}

export class Comparison {
  readonly #options: MeasureOptions

  constructor(options: MeasureOptions) {
    this.#options = options
  }

  /** One HTTP request with one ping of an object, and what one more ping adds. */
  async ping(): Promise<{ readonly http: Summary; readonly rpc: Summary }> {
    await using runtime = await this.#start(undefined)
    await this.#pingMs(runtime, 1)
    const http = [await this.#repeat(() => this.#pingMs(runtime, 1))]
    const rpc = [await this.#perPing(runtime)]
    return { http: summarize(http), rpc: summarize(rpc) }
  }

  /** @param keepsNothing its tenants end with the runtime: a cold one is a new one */
  async measure(name: string, keepsNothing: boolean): Promise<Measured> {
    const folder = mkdtempSync(join(this.#options.folder, 'comparison-'))
    try {
      const { warmUps, ...warm } = await this.#measureWarm(name, folder, keepsNothing)
      const rounds: ColdRound[] = []
      for (let round = 0; round < this.#options.rounds; round++) {
        rounds.push(await this.#measureCold(name, { folder, keepsNothing, warmUps }))
      }
      const of = (pick: (round: ColdRound) => readonly number[]): Summary =>
        summarize(rounds.map(pick))
      const middle = (pick: (round: ColdRound) => number): number => median(rounds.map(pick))
      return {
        times: { first: of(({ firstMs }) => [firstMs]), cold: of(({ coldMs }) => coldMs), ...warm },
        memory: {
          idle: middle(({ memory }) => memory.idle),
          first: middle(({ memory }) => memory.first),
          further: middle(({ memory }) => memory.further),
        },
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }

  async #measureWarm(name: string, folder: string, keepsNothing: boolean): Promise<WarmRound> {
    await using runtime = await this.#start(folder)
    const make = async (tenant: string): Promise<void> => {
      for (const sql of MAKE)
        await ask(runtime, { architecture: name, tenants: [tenant], sql, count: 1 })
    }
    const tenants = this.#tenants()
    for (const tenant of tenants) await make(tenant)
    const { warmUpTenants } = this.#options
    const warmUpsMax = keepsNothing ? Math.min(warmUpTenants, WARM_UP_TENANTS_HELD) : warmUpTenants
    const warmUps: string[] = []
    for (const startMs = performance.now(); warmUps.length < warmUpsMax;) {
      if (performance.now() - startMs > WARM_UP_MS) break
      const tenant = `warm-up-${warmUps.length}`
      if (!keepsNothing) await make(tenant)
      warmUps.push(tenant)
    }
    const [first = ''] = tenants
    const some = tenants.slice(0, TURNS_TENANTS)
    const warm = await this.#each(runtime, name, [first], SELECT)
    // Fewer of them: who has no room for four makes a slot for each.
    const turns = await this.#each(runtime, name, some, SELECT, TURNS_SHARE)
    const write = await this.#each(runtime, name, [first], INSERT)
    return { warm, turns, write, warmUps }
  }

  async #measureCold(name: string, { folder, keepsNothing, warmUps }: Found): Promise<ColdRound> {
    await using runtime = await this.#start(folder)
    const idle = runtimeBytes() ?? 0
    const sql = keepsNothing ? `select '${VALUE}'` : SELECT
    const askedMs: number[] = []
    let afterFirst = idle
    const [first = '', ...others] = this.#tenants()
    for (const tenant of [first, ...warmUps, ...others]) {
      const asked = { architecture: name, tenants: [tenant], sql, count: 1 }
      askedMs.push(await timed(async () => assert.equal(await ask(runtime, asked), VALUE)))
      if (askedMs.length > 1) continue
      afterFirst = runtimeBytes() ?? 0
      // A warm isolate is one that has worked: its code is compiled.
      await ask(runtime, { ...asked, count: this.#options.statements })
    }
    const end = runtimeBytes() ?? 0
    const pingMs = median(await this.#repeat(() => this.#pingMs(runtime, 1)))
    const [firstMs = 0, ...furtherMs] = askedMs.map((ms) => Math.max(0, ms - pingMs))
    const further = (end - afterFirst) / furtherMs.length
    const coldMs = furtherMs.slice(warmUps.length)
    return { firstMs, coldMs, memory: { idle, first: afterFirst - idle, further } }
  }

  /** What one statement takes among many, less a ping of an object. */
  async #each(
    runtime: RunningWorker,
    architecture: string,
    tenants: readonly string[],
    sql: string,
    share = 1,
  ): Promise<Summary> {
    const count = Math.max(tenants.length, Math.round(this.#options.statements * share))
    const asked = { architecture, tenants, sql, count }
    await ask(runtime, asked)
    const pings = await this.#perPing(runtime)
    const pingMs = median(pings)
    const emptyMs = median(await this.#repeat(() => this.#pingMs(runtime, 0)))
    const samples = await this.#repeat(async () => {
      const ms = await timed(() => ask(runtime, asked))
      return Math.max(0, (ms - emptyMs) / count - pingMs)
    })
    return summarize([samples])
  }

  async #perPing(runtime: RunningWorker): Promise<number[]> {
    const count = this.#options.statements
    const emptyMs = median(await this.#repeat(() => this.#pingMs(runtime, 0)))
    return this.#repeat(async () =>
      Math.max(0, ((await this.#pingMs(runtime, count)) - emptyMs) / count),
    )
  }

  #pingMs(runtime: RunningWorker, count: number): Promise<number> {
    return timed(async () => {
      const answer = await runtime.fetch(`/bench/ping?count=${count}`)
      await answer.arrayBuffer()
    })
  }

  async #repeat(sample: () => Promise<number>): Promise<number[]> {
    const samples: number[] = []
    while (samples.length < SAMPLES) samples.push(await sample())
    return samples
  }

  #tenants(): string[] {
    return Array.from({ length: this.#options.tenants }, (_, index) => `tenant-${index}`)
  }

  #start(folder: string | undefined): Promise<RunningWorker> {
    const objects = { PINGS: { className: 'PingObject', useSQLite: true } }
    const storage =
      folder === undefined
        ? {}
        : { durableObjectsPersist: join(folder, 'objects'), r2Persist: join(folder, 'r2') }
    return startArchitectures(this.#options.files, { durableObjects: objects }, storage)
  }
}

/** Of each measurement; a median of an odd number is one of them. */
const SAMPLES = 7

/** What a round of cold tenants begins with. */
interface Found {
  readonly folder: string
  readonly keepsNothing: boolean
  /** Tenants beside those that are measured. */
  readonly warmUps: readonly string[]
}

interface WarmRound extends Pick<ArchitectureTimes, 'warm' | 'turns' | 'write'> {
  readonly warmUps: readonly string[]
}

interface ColdRound {
  readonly firstMs: number
  readonly coldMs: readonly number[]
  readonly memory: ArchitectureMemory
}

async function ask(runtime: RunningWorker, asked: BenchRequest): Promise<unknown> {
  const body = JSON.stringify(asked)
  const answer = await runtime.fetch('/bench/run', { method: 'POST', body })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${asked.architecture}: ${answer.status} ${text}`)
  return (JSON.parse(text) as { value?: unknown }).value
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now()
  await work()
  return performance.now() - startMs
}
