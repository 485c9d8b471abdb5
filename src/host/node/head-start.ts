/**
 * What a server begins before its command line is read: PGlite's module is compiled, and a thread
 * started, whose own code takes as long to load as everything else that a start needs.
 */
import { beginGuess, type Guess } from './engine/stock-code.ts'
import { EarlyThread } from './shard/shard-thread.ts'

export interface HeadStart {
  readonly thread: EarlyThread
  /** Rejects with an error of Node if PGlite is not installed. */
  readonly guess: Promise<Guess | undefined>
}

/** First the module: while it is compiled, a thread could use no cache of code (`v8-flags.ts`). */
export function headStart(): HeadStart {
  const guess = begin()
  // Whoever starts the server waits for it; a command line that is wrong ends before that.
  guess.catch(() => {})
  return { thread: new EarlyThread(), guess }
}

async function begin(): Promise<Guess | undefined> {
  return beginGuess()
}
