/**
 * A medium that fails on order, for tests and simulations. It wraps a real one and counts
 * operations; a plan names one of them and what happens there:
 *
 *   fail before   it throws and nothing has happened (a disk that refuses)
 *   fail after    it has happened, and it throws all the same (a disk whose answer is lost)
 *   stop          as fail, and from then on every call throws: the process is dead, and only
 *                 what the wrapped medium made durable is left
 *
 * A `sync` is what `commitAhead` leaves for later: it may fail when the commit has long returned.
 * A fault inside a transaction rolls back, as SQLite does. At `commit`, "before" means rolled back,
 * and "after" means durable but never acknowledged: the case that separates careful code from lucky
 * code.
 */
import { PgnapError } from '../base/errors.ts'
import type { Medium, SqlRow, SqlValue, Sync } from './medium.ts'

export type MediumOperation =
  | 'exec'
  | 'run'
  | 'get'
  | 'all'
  | 'begin'
  | 'commit'
  | 'sync'
  | 'checkpoint'
  | 'compact'

export interface MediumFault {
  /** Which operation: the n-th of this kind, or of any kind, counted from 1. */
  readonly operation: MediumOperation | 'any'
  readonly nth: number
  readonly moment: 'before' | 'after'
  readonly effect: 'fail' | 'stop'
  /** Default STORE_IO. */
  readonly code?: 'STORE_IO' | 'STORE_FULL'
}

export class FaultyMedium implements Medium {
  readonly #inner: Medium
  readonly #plan: readonly MediumFault[]
  readonly #counts = new Map<MediumOperation | 'any', number>()
  #stopped: PgnapError | undefined

  constructor(inner: Medium, plan: readonly MediumFault[] = []) {
    this.#inner = inner
    this.#plan = plan
  }

  /** Operations so far, of one kind or of all. */
  count(operation: MediumOperation | 'any' = 'any'): number {
    return this.#counts.get(operation) ?? 0
  }

  /** True once a "stop" has happened. */
  get stopped(): boolean {
    return this.#stopped !== undefined
  }

  exec(sql: string): void {
    this.#around('exec', () => this.#inner.exec(sql))
  }

  run(sql: string, ...parameters: readonly SqlValue[]): number {
    return this.#around('run', () => this.#inner.run(sql, ...parameters))
  }

  get(sql: string, ...parameters: readonly SqlValue[]): SqlRow | undefined {
    return this.#around('get', () => this.#inner.get(sql, ...parameters))
  }

  all(sql: string, ...parameters: readonly SqlValue[]): readonly SqlRow[] {
    return this.#around('all', () => this.#inner.all(sql, ...parameters))
  }

  transaction<Result>(body: () => Result): Result {
    this.#around('begin', () => {})
    const atCommit = { fault: undefined as PgnapError | undefined }
    const result = this.#inner.transaction(() => {
      const value = body()
      // A dead process commits nothing, even if somebody swallowed the error that killed it.
      if (this.#stopped !== undefined) throw this.#stopped
      this.#step('commit', 'before')
      atCommit.fault = this.#due('commit', 'after')
      return value
    })
    if (atCommit.fault !== undefined) throw atCommit.fault
    return result
  }

  commitAhead(work: () => void): Sync | undefined {
    this.#live()
    const sync = this.#inner.commitAhead(work)
    return sync && (() => sync().then(() => this.#around('sync', () => {})))
  }

  sizeBytes(): number {
    this.#live()
    return this.#inner.sizeBytes()
  }

  spareBytes(): number {
    this.#live()
    return this.#inner.spareBytes()
  }

  compact(bytesMax: number): number {
    return this.#around('compact', () => this.#inner.compact(bytesMax))
  }

  checkpoint(): void {
    this.#around('checkpoint', () => this.#inner.checkpoint())
  }

  damage(): readonly string[] {
    this.#live()
    return this.#inner.damage()
  }

  /** Closes the wrapped medium, unless stopped: a dead process closes nothing. */
  [Symbol.dispose](): void {
    if (this.#stopped === undefined) this.#inner[Symbol.dispose]()
  }

  #around<Result>(operation: MediumOperation, action: () => Result): Result {
    this.#live()
    this.#step(operation, 'before')
    const result = action()
    const fault = this.#due(operation, 'after')
    if (fault !== undefined) throw fault
    return result
  }

  #step(operation: MediumOperation, moment: 'before'): void {
    for (const kind of [operation, 'any'] as const) this.#counts.set(kind, this.count(kind) + 1)
    const fault = this.#due(operation, moment)
    if (fault !== undefined) throw fault
  }

  #due(operation: MediumOperation, moment: 'before' | 'after'): PgnapError | undefined {
    const fault = this.#plan.find(
      (one) =>
        one.moment === moment &&
        (one.operation === operation || one.operation === 'any') &&
        one.nth === this.count(one.operation),
    )
    if (fault === undefined) return undefined
    const error = new PgnapError(fault.code ?? 'STORE_IO', `planned fault at ${operation}`, {
      detail: `${fault.effect} ${fault.moment} ${fault.operation} ${fault.nth}`,
    })
    if (fault.effect === 'stop') this.#stopped = error
    return error
  }

  #live(): void {
    if (this.#stopped !== undefined) throw this.#stopped
  }
}
