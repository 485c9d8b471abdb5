/**
 * Traffic to many tenants at once, as people make it: clients come, ask one thing, and go. Every
 * client begins its next visit when the last one is over, so that the server is never idle and
 * latencies hold whatever waiting its own speed causes.
 *
 *   wire visit   connect, startup, one statement, goodbye       tells how long the client waited
 *   probe        one statement over HTTP, connection kept       tells in which tier it found whom
 *
 * Every answer is checked: each row names the tenant that it belongs to, and what was acknowledged
 * is counted, so that the tenants can be asked for it afterwards.
 */
import { Agent, request } from 'node:http'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { assert } from '../src/base/assert.ts'
import type { Tier } from '../src/front/control.ts'
import type { PeerServer } from './peers/server.ts'
import { addressOf } from './peers/server.ts'
import { queryOnce } from './wire/connection.ts'
import { Zipf } from './zipf.ts'

/** Rows that every tenant has. */
const ROWS_PER_TENANT = 20
/** One visit in so many changes something. */
const VISITS_PER_UPDATE = 5
/** After an error, so that a server which is gone is not asked a million times. */
const PAUSE_MS = 20
/** Different words of errors that are kept. */
const ERROR_WORDS_MAX = 20

export interface VisitOptions {
  readonly server: PeerServer
  /** Where the probes ask; without it there are none. */
  readonly httpPort?: number
  readonly tenantCount: number
  readonly wireClients: number
  readonly probes: number
  readonly durationMs: number
}

export interface VisitResult {
  /** Visits and probes that were answered. */
  readonly answered: number
  readonly elapsedMs: number
  readonly wireMs: readonly number[]
  readonly probeMs: Readonly<Record<Tier, readonly number[]>>
  /** What went wrong, and how often. */
  readonly errors: ReadonlyMap<string, number>
  /** Updates that were acknowledged, by tenant. */
  readonly updates: Uint32Array
}

export const tenantName = (index: number): string => `tenant-${String(index).padStart(6, '0')}`

/** The table of a tenant and its rows, in one message. */
export function tenantStatements(index: number): string {
  return `create table notes (
      id int primary key, tenant int not null, hits int not null, body text not null);
    insert into notes select i, ${index}, 0, repeat('x', 80)
      from generate_series(1, ${ROWS_PER_TENANT}) i`
}

/** Makes the tenants and their tables over `clients` connections; milliseconds it took. */
export async function makeTenants(
  server: PeerServer,
  tenantCount: number,
  clients: number,
): Promise<number> {
  let made = 0
  const startMs = performance.now()
  const work = async (): Promise<void> => {
    for (let index = made++; index < tenantCount; index = made++) {
      await server.createTenant(tenantName(index))
      await queryOnce(addressOf(server, tenantName(index)), tenantStatements(index))
    }
  }
  await Promise.all(Array.from({ length: clients }, work))
  return performance.now() - startMs
}

/** Lets all clients visit until the time is over. Errors are counted, never thrown. */
export async function visit(options: VisitOptions): Promise<VisitResult> {
  const traffic = new Traffic(options)
  return await traffic.run()
}

/** What `updates` were acknowledged must be there: throws if a tenant has lost or gained one. */
export async function checkUpdates(
  server: PeerServer,
  updates: Uint32Array,
  tenants: readonly number[],
): Promise<void> {
  for (const tenant of tenants) {
    const address = addressOf(server, tenantName(tenant))
    const [row] = await queryOnce(address, 'select sum(hits) from notes')
    const expected = String(updates[tenant] ?? 0)
    const words = `${address.database} has ${String(row?.[0])} updates, acknowledged: ${expected}`
    assert(row?.[0] === expected, words)
  }
}

class Traffic {
  readonly #options: VisitOptions
  readonly #agent: Agent
  readonly #wireMs: number[] = []
  readonly #probeMs: Record<Tier, number[]> = {
    awake: [],
    napping: [],
    asleep: [],
    cold: [],
    new: [],
  }
  readonly #errors = new Map<string, number>()
  readonly #updates: Uint32Array

  constructor(options: VisitOptions) {
    this.#options = options
    this.#agent = new Agent({ keepAlive: true, maxSockets: Math.max(1, options.probes) })
    this.#updates = new Uint32Array(options.tenantCount)
  }

  async run(): Promise<VisitResult> {
    const { wireClients, probes, durationMs, httpPort } = this.#options
    const startMs = performance.now()
    const untilMs = startMs + durationMs
    const clients = Array.from({ length: wireClients }, (_, index) =>
      this.#client(index + 1, untilMs, (tenant, sql) => this.#wire(tenant, sql)),
    )
    const probing = Array.from({ length: httpPort === undefined ? 0 : probes }, (_, index) =>
      this.#client(wireClients + index + 1, untilMs, (tenant, sql) => this.#probe(tenant, sql)),
    )
    await Promise.all([...clients, ...probing])
    this.#agent.destroy()
    const probeCount = Object.values(this.#probeMs).reduce((sum, { length }) => sum + length, 0)
    return {
      answered: this.#wireMs.length + probeCount,
      elapsedMs: performance.now() - startMs,
      wireMs: this.#wireMs,
      probeMs: this.#probeMs,
      errors: this.#errors,
      updates: this.#updates,
    }
  }

  /** One visit after the other. `ask` answers with the tenant that the row says it belongs to. */
  async #client(
    seed: number,
    untilMs: number,
    ask: (tenant: number, sql: string) => Promise<string | null | undefined>,
  ): Promise<void> {
    const zipf = new Zipf(this.#options.tenantCount, seed)
    while (performance.now() < untilMs) {
      const tenant = zipf.next()
      const row = 1 + zipf.below(ROWS_PER_TENANT)
      const writes = zipf.below(VISITS_PER_UPDATE) === 0
      const sql = writes
        ? `update notes set hits = hits + 1 where id = ${row} returning tenant`
        : `select tenant, body from notes where id = ${row}`
      try {
        const answer = await ask(tenant, sql)
        assert(answer === String(tenant), `tenant ${tenant} answered as ${String(answer)}`)
        if (writes) this.#updates[tenant] = (this.#updates[tenant] ?? 0) + 1
      } catch (error) {
        this.#note(error)
        await delay(PAUSE_MS)
      }
    }
  }

  async #wire(tenant: number, sql: string): Promise<string | null | undefined> {
    const startMs = performance.now()
    const rows = await queryOnce(addressOf(this.#options.server, tenantName(tenant)), sql)
    this.#wireMs.push(performance.now() - startMs)
    return rows[0]?.[0]
  }

  async #probe(tenant: number, sql: string): Promise<string | null | undefined> {
    const { httpPort = 0 } = this.#options
    const startMs = performance.now()
    const { timing, text } = await post(this.#agent, httpPort, tenantName(tenant), sql)
    const elapsedMs = performance.now() - startMs
    const tier = /wake;[^,]*desc="(\w+)"/.exec(timing)?.[1] ?? 'awake'
    assert(tier in this.#probeMs, `no such tier: ${timing}`)
    this.#probeMs[tier as Tier].push(elapsedMs)
    const { rows } = JSON.parse(text) as { readonly rows: readonly { readonly tenant: number }[] }
    return String(rows[0]?.tenant)
  }

  #note(error: unknown): void {
    const words = error instanceof Error ? error.message : String(error)
    const known = this.#errors.has(words) || this.#errors.size < ERROR_WORDS_MAX
    const key = known ? words : 'others'
    this.#errors.set(key, (this.#errors.get(key) ?? 0) + 1)
  }
}

/** One statement over HTTP; rejects unless it succeeded. */
function post(
  agent: Agent,
  port: number,
  tenant: string,
  sql: string,
): Promise<{ readonly timing: string; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const path = `/v1/tenants/${tenant}/query`
    const sent = request({ agent, host: '127.0.0.1', port, path, method: 'POST' }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (chunk: string) => (text += chunk))
      answer.on('error', reject)
      answer.on('end', () => {
        if (answer.statusCode !== 200) reject(new Error(`${answer.statusCode} ${text}`))
        else resolve({ timing: String(answer.headers['server-timing']), text })
      })
    })
    sent.on('error', reject)
    sent.end(JSON.stringify({ sql }))
  })
}
