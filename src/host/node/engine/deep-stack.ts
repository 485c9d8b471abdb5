/**
 * Gives a statement that may pause a stack as deep as its thread's own.
 *
 * V8 gives whatever it can suspend a stack of its own, as large as the smaller one of two of its
 * flags says at its entry: 984 kB, which a recursion has used up before Postgres counts a tenth of
 * its `max_stack_depth`. The flags belong to the process, and V8 compares them before it takes code
 * from a cache. So they are changed for the microseconds of the entry, by one thread at a time.
 */
import { threadId } from 'node:worker_threads'
import { setFlagsFromString } from 'node:v8'
import type { StackRoom } from '../../../engine/pausing.ts'
import { sharedCell } from '../shared-cell.ts'

/** A little less than a shard's thread has (`shard-thread.ts`). Address space, until it is used. */
const DEEP_KB = 62 * 1024
/** V8's own, on every machine of 64 bits. */
const USUAL_KB = 984
const FLAGS = ['--stack-size', '--wasm-stack-switching-stack-size'] as const

/** Under this name all threads of a process find the cell that says whose the flags are. */
const LOCK_NAME = 'pgnap: who changes the flags of stacks'
/** What the cell says while nobody has them; else it is the number of a thread, and 1. */
const FREE = 0

/** Undefined if somebody has set the size of stacks for the whole process. */
export function deepStack(): StackRoom | undefined {
  const said = [...process.execArgv, process.env['NODE_OPTIONS'] ?? '']
  if (said.some((words) => /stack[-_]size/.test(words))) return undefined
  const lock = sharedCell(LOCK_NAME)
  const own = threadId + 1
  return {
    take: () => {
      for (;;) {
        const owner = Atomics.compareExchange(lock, 0, FREE, own)
        if (owner === FREE) break
        Atomics.wait(lock, 0, owner)
      }
      setSize(DEEP_KB)
    },
    giveBack: () => giveBack(lock),
  }
}

/** A thread has ended, perhaps in the middle of an entry: the others would wait for it for ever. */
export function giveBackFor(endedThreadId: number): void {
  const lock = sharedCell(LOCK_NAME)
  if (Atomics.load(lock, 0) === endedThreadId + 1) giveBack(lock)
}

function giveBack(lock: Int32Array): void {
  setSize(USUAL_KB)
  Atomics.store(lock, 0, FREE)
  Atomics.notify(lock, 0, 1)
}

function setSize(kilobytes: number): void {
  for (const flag of FLAGS) setFlagsFromString(`${flag}=${kilobytes}`)
}

/** To be called before a thread is started: it gets what the one that starts it has. */
export function shareDeepStacks(): void {
  sharedCell(LOCK_NAME)
}
