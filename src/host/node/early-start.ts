/**
 * What a server starts before it is composed, because everything else waits for it: one thread, and
 * the loading of the engine, of which that thread makes its first slot.
 */
import type { Config } from './config.ts'
import { beginEngineParts, type EngineParts } from './engine/load-engine.ts'
import { headStart, type HeadStart } from './head-start.ts'
import type { EarlyThread } from './shard/shard-thread.ts'

export interface EarlyStart {
  readonly thread: EarlyThread
  /** Rejects with ENGINE_ASSETS_INVALID; the thread is gone then. */
  readonly engine: Promise<EngineParts>
}

/** Settles when the thread is busy with its first slot, and before the engine is verified. */
export async function startEarly(
  config: Config,
  progress?: (step: string) => void,
  { thread, guess }: HeadStart = headStart(),
): Promise<EarlyStart> {
  thread.config = config
  const options = { early: thread, guess, ...(progress ? { progress } : {}) }
  const { verified: engine } = await beginEngineParts(options)
  // Whoever composes the server waits for it, and may not have come that far when it fails.
  engine.catch(() => thread.discard())
  return { thread, engine }
}
