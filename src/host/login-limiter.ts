/**
 * Counts failed logins for all threads of a server, or for one isolate, in a table of fixed size:
 * an attacker with a million addresses takes no more memory than one with none.
 *
 * Each count is the time at which its allowance will be full again (GCRA): a failure moves it
 * forward by one refill, and who is a whole allowance ahead has to wait. A name has two cells, by a
 * keyed hash that nobody outside can steer, and is stopped only if both are full: while 2,000
 * addresses attack, one innocent in a thousand is.
 *
 * It must never tell a known name from an unknown one: it knows none.
 */
import { createHmac } from 'node:crypto'
import { isIPv6 } from 'node:net'
import type { Clock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { LoginAttempt, LoginLimiter } from '../router/login-attempts.ts'

export interface SharedLoginLimiterOptions {
  /** The same in all threads. */
  readonly logins: SharedLogins
  readonly secret: Uint8Array
  /** Failures of one address at once; 0: nobody has to wait. */
  readonly addressFailuresMax: number
  /** Where that is set, for the hint; empty: nowhere. Default: `--login-failures` */
  readonly setting?: string
  readonly clock: Pick<Clock, 'nowMs'>
}

/** Of one name: cells of its two rows. */
interface Allowance {
  readonly cells: readonly [number, number]
  readonly failuresMax: number
  readonly refillTicks: number
}

/** A cell has 31 bits: a process may run for six years. */
const TICK_MS = 100
const ROWS = 2
const KINDS = 2
const LIMIT = 'is the limit of one address'

/** What the limiters of one server's threads share. */
export interface SharedLogins {
  readonly memory: SharedArrayBuffer
  /** From which its times count. */
  readonly startMs: number
}

/** @param cellsPerRow the fewer, the more innocents are stopped while many attack */
export function allocateLogins(
  startMs: number,
  cellsPerRow: number = LIMITS.loginCellsPerRow,
): SharedLogins {
  const cellCount = KINDS * ROWS * cellsPerRow
  return { memory: new SharedArrayBuffer(cellCount * Int32Array.BYTES_PER_ELEMENT), startMs }
}

export class SharedLoginLimiter implements LoginLimiter {
  readonly #options: SharedLoginLimiterOptions
  readonly #cells: Int32Array

  constructor(options: SharedLoginLimiterOptions) {
    this.#options = options
    this.#cells = new Int32Array(options.logins.memory)
  }

  check(attempt: LoginAttempt): void {
    const now = this.#now()
    const { setting = '--login-failures' } = this.#options
    for (const [whose, allowance] of this.#allowances(attempt)) {
      const waitTicks = Math.min(...allowance.cells.map((cell) => this.#wait(cell, allowance, now)))
      if (waitTicks <= 0) continue
      const seconds = Math.ceil((waitTicks * TICK_MS) / 1000)
      throw new PgnapError('LOGIN_LIMITED', `too many failed logins ${whose}`, {
        hint: `try again in ${seconds} s${setting === '' ? '' : `; ${setting} ${LIMIT}`}`,
      })
    }
  }

  failed(attempt: LoginAttempt): void {
    const now = this.#now()
    for (const [, allowance] of this.#allowances(attempt)) {
      for (const cell of allowance.cells) this.#add(cell, allowance, now)
    }
  }

  #now(): number {
    const { clock, logins } = this.#options
    return Math.floor((clock.nowMs() - logins.startMs) / TICK_MS)
  }

  #allowances({ address, user, database }: LoginAttempt): [whose: string, Allowance][] {
    const { addressFailuresMax } = this.#options
    if (addressFailuresMax === 0) return []
    const [tenant = ''] = database.split('@', 1)
    const role: Allowance = {
      cells: this.#cellsOf(1, `${tenant}\0${user}`),
      failuresMax: LIMITS.loginFailuresPerRoleMax,
      refillTicks: LIMITS.loginFailuresRoleRefillMs / TICK_MS,
    }
    if (address === '') return [['as this user', role]]
    const place: Allowance = {
      cells: this.#cellsOf(0, networkOf(address)),
      failuresMax: addressFailuresMax,
      refillTicks: LIMITS.loginFailuresAddressRefillMs / TICK_MS,
    }
    return [
      ['from this address', place],
      ['as this user', role],
    ]
  }

  #cellsOf(kind: number, name: string): [number, number] {
    const hash = createHmac('sha256', this.#options.secret).update(`${kind} ${name}`).digest()
    const perRow = this.#cells.length / (KINDS * ROWS)
    const cell = (row: number): number =>
      (kind * ROWS + row) * perRow + (hash.readUInt32LE(row * 4) % perRow)
    return [cell(0), cell(1)]
  }

  /** Ticks until one more failure would be within the allowance; 0 or less: it is now. */
  #wait(cell: number, { failuresMax, refillTicks }: Allowance, now: number): number {
    return (
      this.#ahead(cell, failuresMax * refillTicks, now) + refillTicks - failuresMax * refillTicks
    )
  }

  #add(cell: number, { failuresMax, refillTicks }: Allowance, now: number): void {
    for (;;) {
      const was = Atomics.load(this.#cells, cell)
      // Failures beyond the allowance do not make the wait longer.
      const ahead = Math.min(
        this.#ahead(cell, failuresMax * refillTicks, now) + refillTicks,
        failuresMax * refillTicks,
      )
      if (Atomics.compareExchange(this.#cells, cell, was, now + ahead) === was) return
    }
  }

  /** Never more than a whole allowance, whatever has been done to the machine's clock. */
  #ahead(cell: number, allowanceTicks: number, now: number): number {
    return Math.min(Math.max(0, Atomics.load(this.#cells, cell) - now), allowanceTicks)
  }
}

/** Whoever has one address of IPv6 has 2^64 of them. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  if (!isIPv6(address)) return address
  const [head = '', tail = ''] = (address.split('%', 1)[0] ?? '').split('::', 2)
  const groups = head === '' ? [] : head.split(':')
  const last = tail === '' ? [] : tail.split(':')
  const isShort = address.includes('::')
  const missing = isShort ? Math.max(0, 8 - groups.length - last.length) : 0
  const all = [...groups, ...Array.from({ length: missing }, () => '0'), ...last]
  return all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')
}
