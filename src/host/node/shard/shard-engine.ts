/** The engine of a shard, which is begun before it is known which shard it will be. */
import type { Clock } from '../../../base/clock.ts'
import { shareOfOne } from '../../../base/held-bytes.ts'
import { LIMITS } from '../../../base/limits.ts'
import type { Log } from '../../../base/log.ts'
import type { Random } from '../../../base/random.ts'
import type { WasmEngine } from '../../../engine/wasm-engine.ts'
import type { WasmSlot } from '../../../engine/wasm-slot.ts'
import type { ShareBase } from '../../../engine/touched-pages.ts'
import type { Config } from '../config.ts'
import {
  beginEngine,
  type BegunEngine,
  createEngine,
  type EngineCode,
  type EngineParts,
} from '../engine/load-engine.ts'
import { baseSharer } from '../engine/shared-pages.ts'

/** What an engine is made of. */
export interface EngineSettings {
  readonly config: Config
  readonly engine: EngineParts
}

/** An engine with its first slot, made before it was known which shard they are for. */
export interface PreparedEngine {
  readonly engine: WasmEngine
  readonly slot: Promise<WasmSlot>
}

export interface EngineDependencies {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** Begins what {@link prepareEngine} goes on with. */
export function beginSlot(
  code: EngineCode,
  config: Config,
  dependencies: EngineDependencies,
): Promise<BegunEngine> {
  return beginEngine(code, instanceOptions(config, dependencies))
}

/** Makes an engine and its first slot. It serves nobody before it belongs to a shard. */
export async function prepareEngine(
  settings: EngineSettings,
  dependencies: EngineDependencies,
  begun: BegunEngine | undefined,
): Promise<PreparedEngine> {
  const engine = await openEngine(settings, dependencies, begun)
  const slot = engine.createSlot()
  // A failure is the pool's to deal with, once it asks for a slot.
  slot.catch(() => {})
  return { engine, slot }
}

export function openEngine(
  { engine, config }: EngineSettings,
  dependencies: EngineDependencies,
  begun?: BegunEngine,
): Promise<WasmEngine> {
  const { random, log } = dependencies
  const { verifySwaps } = config
  const options = {
    ...instanceOptions(config, dependencies),
    random,
    verifySwaps,
    shareBase: config.shareBase ? sharerOrSaid(engine, log) : undefined,
  }
  return createEngine(engine, options, begun)
}

/** Whoever waits longer for naps than others, and pays more memory, should find out why. */
function sharerOrSaid({ base, baseFile }: EngineParts, log: Log): ShareBase | undefined {
  const share = baseFile && baseSharer(base, baseFile)
  if (!share) {
    log.info('slots do not share the base here: each has a copy, and naps compare all of it', {
      hint: 'it takes Linux with /proc and pages of 4 KiB, and Node 26',
    })
    return undefined
  }
  return (memory) => {
    const shared = share(memory)
    if (!shared) log.warn('a slot does not share the base: it has a copy, and its naps are longer')
    return shared
  }
}

function instanceOptions(config: Config, { clock, log }: EngineDependencies) {
  const { slotMemoryBytesMax, clientBytesMax } = config
  return {
    clock,
    slotMemoryBytesMax,
    answerBytesMax: Math.min(LIMITS.answerBytesMax, shareOfOne(clientBytesMax)),
    serverLog: (line: string): void => log.debug('postgres', { line }),
  }
}
