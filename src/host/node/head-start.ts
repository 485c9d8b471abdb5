/**
 * What a server begins before its command line is read: a thread, whose own code takes as long to
 * load, and PGlite's module, which takes longest to get ready.
 */
import type { Guess } from './engine/stock-code.ts'
import { EarlyThread } from './shard/shard-thread.ts'

export interface HeadStart {
  readonly thread: EarlyThread
  /** Rejects with an error of node:fs if PGlite is not installed. */
  readonly guess: Promise<Guess | undefined>
}

export function headStart(): HeadStart {
  const thread = new EarlyThread()
  const guess = begin()
  // Whoever starts the server waits for it; a command line that is wrong ends before that.
  guess.catch(() => {})
  return { thread, guess }
}

/** Its code is loaded when the thread has been started. */
async function begin(): Promise<Guess | undefined> {
  const { beginGuess } = await import('./engine/stock-code.ts')
  return beginGuess()
}
