/**
 * What is said between a compute and the homes of its tenants, and how a request is run in a
 * compute: in a Worker of its own (`compute-worker.ts`) or in an object that holds many tenants
 * (`compute-object.ts`).
 */
import { assert } from '../../../base/assert.ts'
import { PgnapError } from '../../../base/errors.ts'
import type { TenantName } from '../../../base/ids.ts'
import { Phases } from '../../../base/phases.ts'
import type { Statement } from '../../../front/control.ts'
import type { Delivery, FetchRequest, Home, Receipt, Slice } from '../../../replica/home.ts'
import { LOAD_STRATEGIES } from '../../../replica/load-strategy.ts'
import { checkStrategies } from '../../../replica/local-tenant.ts'
import type { Freshened } from '../../../replica/compute-tenant.ts'
import type { Ahead } from '../../../replica/tenant-replica.ts'
import { WRITE_STRATEGIES } from '../../../replica/write-back.ts'
import { unreachable } from '../../../replica/within.ts'
import type { Template } from '../../../store/template.ts'
import { workerClock } from '../clock.ts'
import { consoleLog } from '../console-log.ts'
import { DIRECTORY_NAME } from '../environment.ts'
import { theIsolate } from '../isolate.ts'
import { fetchTemplate, keepTemplate } from '../kept-templates.ts'
import { heard, type Outcome, resultOf } from '../outcome.ts'
import type { RemoteServed } from './architecture.ts'
import type { ComputeSeat } from './compute-seat.ts'
import type { ComputePool, SeatKey, SeatTools, Strategies } from './compute-pool.ts'
import type { ArchitecturesEnvironment } from './environment.ts'

/** Which binding leads to the homes of an architecture's tenants. */
export type HomeKind = 'STATES' | 'HYBRIDS' | 'LAZIES'

/** Where a tenant is at home. */
export interface HomeAddress {
  readonly kind: HomeKind
  /** Of the object. */
  readonly object: string
  readonly tenant: TenantName
}

/** What a home's object answers computes. Errors come as data (`outcome.ts`). */
export interface HomeCalls {
  fetchRows(request: FetchRequest): Promise<Outcome<Slice>>
  deliver(delivery: Delivery): Promise<Outcome<Receipt>>
  /** Somebody is to call {@link ComputeCalls.flush}; the object has alarms, a Worker has not. */
  flushWithin(delayMs: number, flush: FlushOrder): Promise<void>
}

/** Whose commits somebody has acknowledged that are not at home. */
export interface FlushOrder extends Strategies, Ahead {
  readonly home: HomeAddress
}

/** A statement for a compute. */
export interface ComputeRequest extends Strategies {
  readonly home: HomeAddress
  /** What the home has, if it is the home that asks. */
  readonly hint?: string
  readonly statement: Statement
  readonly staleAllowed?: boolean
}

/** The engine of a compute, for homes that have none: what a new store has to say. */
export interface EngineFacts {
  readonly fingerprint: string
  readonly postgresMajor: number
  readonly templateId: string
}

/** Of the platform; lets work go on after the answer. */
type WaitUntil = (work: Promise<unknown>) => void

/** Runs one request in `pool`. */
export async function compute(
  pool: ComputePool,
  environment: ArchitecturesEnvironment,
  { servedBy, ...request }: ComputeRequest & { readonly servedBy: string },
  { flushWithin, waitUntil }: Pick<SeatTools, 'flushWithin'> & { waitUntil: WaitUntil },
): Promise<RemoteServed> {
  const { home, hint, statement, staleAllowed = false, load, write } = request
  const phases = new Phases(workerClock)
  checkStrategies(load, write, false)
  assert(load !== 'lazy', 'pages on demand need no seat')
  const strategies = { load: LOAD_STRATEGIES[load], write: WRITE_STRATEGIES[write] }
  const seat = pool.seatOf(seatKeyOf(home), {
    template: (id) => templateOf(environment, id),
    flushWithin,
  })
  const { answer, freshened } = await seat
    .ask({
      home: reachHome(environment, home),
      statement,
      ...strategies,
      staleAllowed,
      phases,
      ...(hint === undefined ? {} : { hint }),
    })
    // What fails has loaded its rows nevertheless.
    .finally(() => pool.makeRoom())
  const { pending, loss } = seat.options.tenant
  if (seat.needsCheckpoint) waitUntil(checkpoint(seat, reachHome(environment, home)))
  const notes = {
    wokenFrom: answer.timings.wokenFrom,
    strategies: { load, write },
    loaded: loadedNote(freshened),
    ...(freshened.staleMs === undefined ? {} : { stale: { ageMs: freshened.staleMs } }),
    ...(strategies.write.mayLose || loss.commits > 0
      ? { mayLose: pending, lost: { ...loss } }
      : {}),
  }
  return { result: answer.result, servedBy, notes, phases: phases.times() }
}

/** After the answer: it has promised nothing of this. */
async function checkpoint(seat: ComputeSeat, home: Home): Promise<void> {
  try {
    await seat.checkpoint(home, new Phases(workerClock))
  } catch (error) {
    consoleLog.warn('a compute wrote no checkpoint', { tenant: seat.options.name, error })
  }
}

function loadedNote({ how, rowCount, byteLength }: Freshened): object {
  return { how, rowCount, byteLength }
}

export function seatKeyOf({ kind, object, tenant }: HomeAddress): SeatKey {
  return { home: `${kind} ${object}`, tenant }
}

/** A home as one request reaches it. A call that fails without an answer is SERVER_UNREACHABLE. */
export function reachHome(environment: ArchitecturesEnvironment, address: HomeAddress): Home {
  const calls = homeCalls(environment, address)
  return {
    fetch: (request) => answered(calls.fetchRows(request)),
    deliver: (delivery) => answered(calls.deliver(delivery)),
  }
}

export function homeCalls(
  environment: ArchitecturesEnvironment,
  { kind, object }: HomeAddress,
): HomeCalls {
  return environment[kind].getByName(object)
}

/** Whether a tenant whose home is no more than that has a store there. */
export async function existsAt(
  { STATES }: ArchitecturesEnvironment,
  object: string,
): Promise<boolean> {
  return (await heard(STATES.getByName(object).facts())).exists
}

async function answered<Result>(call: Promise<Outcome<Result>>): Promise<Result> {
  let outcome: Outcome<Result>
  try {
    outcome = await call
  } catch (error) {
    throw unreachable(error)
  }
  return resultOf(outcome)
}

/** This build's, whose template is kept when this is asked: a store may be made on it. */
export async function engineFacts(environment: ArchitecturesEnvironment): Promise<EngineFacts> {
  await keepTemplate(environment.DIRECTORY.getByName(DIRECTORY_NAME))
  const { fingerprint, postgresMajor, template } = theIsolate().engine
  return { fingerprint, postgresMajor, templateId: template.id }
}

/** @throws PgnapError STORE_ENGINE_MISMATCH if nobody has it */
async function templateOf(environment: ArchitecturesEnvironment, id: string): Promise<Template> {
  const { engine } = theIsolate()
  if (id === engine.template.id) return engine.template
  await fetchTemplate(id, environment.DIRECTORY.getByName(DIRECTORY_NAME))
  const template = theIsolate().earlierTemplates.get(id)?.template
  if (template) return template
  throw new PgnapError('STORE_ENGINE_MISMATCH', `this store stands on a template that is gone`, {
    detail: `template ${id}`,
    hint: 'serve it with the pgnap that wrote it',
  })
}
