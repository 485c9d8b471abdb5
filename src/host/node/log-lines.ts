/**
 * Writes lines to a descriptor at once, and waits for nobody for long: what cannot be written (its
 * disk is full, its reader slow or gone, its terminal halted) is kept in memory up to a limit and
 * tried again with each later line, the oldest first. A server does not end, or stand still, for
 * want of a log.
 */
import { constants, openSync, writeSync } from 'node:fs'
import { isatty } from 'node:tty'
import { utf8 } from '../../base/bytes.ts'
import type { LogDestination } from './log.ts'

/** Lines that cannot be written, kept until they can be; beyond, the newest are lost. */
const KEPT_BYTES_MAX = 1_048_576
/**
 * How often, and for how long each time, a reader that takes nothing just now is waited for; not at
 * all as long as it has taken nothing since.
 */
const PATIENCE = 20
const PAUSE_MS = 1

export class LogLines implements LogDestination {
  readonly #descriptor: number
  readonly #onLost: (count: number) => void
  /** The first of them may have been written in part. */
  readonly #kept: Uint8Array[] = []
  #keptBytes = 0
  #lost = 0

  /** @param onLost told how many lines were lost, when others can be written again */
  constructor(descriptor: number, onLost: (count: number) => void) {
    this.#descriptor = isatty(descriptor) ? reopened(descriptor) : descriptor
    this.#onLost = onLost
  }

  write(line: string): void {
    if (this.#lost > 0 && this.#flush(0)) {
      const lost = this.#lost
      this.#lost = 0
      this.#onLost(lost)
    }
    const bytes = utf8(line)
    if (this.#keptBytes + bytes.length > KEPT_BYTES_MAX) {
      this.#lost++
      return
    }
    const patience = this.#kept.length === 0 ? PATIENCE : 0
    this.#kept.push(bytes)
    this.#keptBytes += bytes.length
    this.#flush(patience)
  }

  /** Whether nothing is kept any more. */
  #flush(patience: number): boolean {
    let waits = patience
    for (let [first] = this.#kept; first; [first] = this.#kept) {
      try {
        const count = writeSync(this.#descriptor, first)
        this.#keptBytes -= count
        if (count < first.length) this.#kept[0] = first.subarray(count)
        else this.#kept.shift()
      } catch (error) {
        // There is nowhere to say why.
        if (!isBusy(error) || waits-- === 0) return false
        Atomics.wait(PAUSE, 0, 0, PAUSE_MS)
      }
    }
    return true
  }
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4))

/** A pipe that does not block, and is full. */
function isBusy(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EAGAIN'
}

/**
 * A terminal that is halted (Ctrl-S) keeps whoever writes to it, unless they have opened it so that
 * it does not. Others that have it open are not affected, as they would be by a change of theirs.
 */
function reopened(descriptor: number): number {
  try {
    const how = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY
    return openSync(`/proc/self/fd/${descriptor}`, how)
  } catch {
    // Not on Linux, or not allowed: then it is as it was given.
    return descriptor
  }
}
