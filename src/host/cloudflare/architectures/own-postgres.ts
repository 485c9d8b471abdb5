/**
 * A Postgres of its own for an object that has its tenant's store: a slot that nobody shares
 * (`own-slots.ts`), over it the tenant's pool, as in pgnap's own architecture.
 */
import type { TenantName } from '../../../base/ids.ts'
import type { Phases } from '../../../base/phases.ts'
import type { SyncDelayFacts } from '../../../base/sync-delay.ts'
import type { Answer, Statement } from '../../../front/control.ts'
import { Call } from '../../call.ts'
import { DIRECTORY_NAME, type Environment } from '../environment.ts'
import { fetchTemplate, keepTemplate } from '../kept-templates.ts'
import { reached } from '../outcome.ts'
import { LoadWait } from '../load-wait.ts'
import { TenantRuntime } from '../tenant-runtime.ts'
import { endOwnSlot, makeOwnSlot, ownSlot } from './own-slots.ts'
import { poolPhases } from './remote.ts'

export class OwnPostgres {
  readonly #context: DurableObjectState
  readonly #environment: Environment
  #runtime: TenantRuntime | undefined
  #making: Promise<unknown> | undefined
  /** For a slot that is made before there is anything over it. */
  readonly #loadWait = new LoadWait()

  constructor(context: DurableObjectState, environment: Environment) {
    this.#context = context
    this.#environment = environment
  }

  /** Whether it has a slot: from a former life, too. False also if it had to make room. */
  get isWarm(): boolean {
    return ownSlot(this.#id) !== undefined
  }

  /** Of what is in memory; undefined if nothing is. */
  get syncDelay(): SyncDelayFacts | undefined {
    return this.isWarm ? this.#here.pool.statistics().syncDelay : undefined
  }

  /** Has a slot, and what the store stands on. To be awaited before something is run. */
  async prepare(): Promise<void> {
    const directory = this.#environment.DIRECTORY.getByName(DIRECTORY_NAME)
    do {
      if (!this.isWarm) {
        this.#runtime = undefined
        await this.#loadWait.during(() => (this.#making ??= this.#make()))
      }
      // It may have been given up in the moment in which it was made: then there is nothing here.
      if (!this.isWarm) continue
      const id = this.#here.storage.templateId()
      await reached(id === undefined ? keepTemplate(directory) : fetchTemplate(id, directory))
      // Another object may have needed the room meanwhile.
    } while (!this.isWarm)
  }

  #make(): Promise<unknown> {
    return makeOwnSlot(this.#id).finally(() => (this.#making = undefined))
  }

  /** Runs one statement; its phases are included in `phases`. */
  async run(tenant: TenantName, statement: Statement, phases: Phases): Promise<Answer> {
    do {
      await phases.measure('instantiate', () => this.prepare())
    } while (!this.isWarm)
    const runtime = this.#here
    const client = runtime.call(tenant)
    const ended = phases.begin('run')
    try {
      const answer = await new Call(client, 0).statement(statement)
      phases.include(poolPhases(answer.timings))
      return answer
    } finally {
      ended()
      runtime.endCall(client)
    }
  }

  /** Gives the slot up, with what is in it. Nothing is written. */
  end(): void {
    this.#runtime = undefined
    endOwnSlot(this.#id)
  }

  get #id(): string {
    return this.#context.id.toString()
  }

  get #here(): TenantRuntime {
    const share = ownSlot(this.#id)
    return (this.#runtime ??= TenantRuntime.of({
      id: this.#id,
      storage: this.#context.storage,
      createMissing: true,
      loadWait: this.#loadWait,
      sockets: [],
      onSpent: () => (this.#runtime = undefined),
      ...(share ? { share } : {}),
    }))
  }
}
