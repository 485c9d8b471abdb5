/**
 * Turns PGlite's stock files and the engine's assets into what a thread needs to make slots. The
 * expensive parts (compiled wasm, base memory, the files' bytes) are shared by all threads of the
 * process: `EngineParts` can be posted to a worker.
 */
import { hash } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import {
  fingerprintOf,
  isCodeProven,
  parseBase,
  parseVerifiedAssets,
} from '../../../engine/engine-assets.ts'
import { functionMapFiller } from '../../../engine/function-table.ts'
import { compileInvokes, type InvokeCode, javaScriptTag } from '../../../engine/invoke-code.ts'
import { compilePausing } from '../../../engine/pausing.ts'
import { memoryDeltaCode } from '../../../engine/memory-delta-code.ts'
import type { Instance } from '../../../engine/instance.ts'
import { slotMemory } from '../../../engine/slot-memory.ts'
import {
  beginInstance,
  type InstanceOptions,
  WasmEngine,
  type WasmEngineOptions,
} from '../../../engine/wasm-engine.ts'
import { deepStack } from './deep-stack.ts'
import { forgetBaseOf, type SharedBase, sharedBaseOf } from './base-file.ts'
import { type CacheOptions, ensureAssets, type ProvableFile } from './asset-cache.ts'
import { assetsIn, type OpenFile, SparseFile } from './sparse-file.ts'
import {
  beginGuess,
  type CompiledCode,
  compileStock,
  type Guess,
  readStockWasm,
} from './stock-code.ts'
import { digestStock, loadFactory, openBundle } from './stock.ts'
import { baseSharer } from './shared-pages.ts'

/** What a slot begins with; posting it copies nothing. */
export interface EngineCode extends CompiledCode {
  readonly bundle: OpenFile
}

/** What every thread needs; posting it copies nothing large. */
export interface EngineParts extends EngineCode, SharedBase {
  readonly deltaCode: WebAssembly.Module
  readonly assets: ProvableFile
}

/** Somebody who makes a slot of parts that are not verified yet, and serves nobody with it. */
export interface Preparer {
  /** The code is there; the rest is being read. Not called if there are no assets yet. */
  begin(code: EngineCode): void
  /** When the slot is made, it may help to verify the assets. */
  prepare(parts: EngineParts): void
  /** The parts were not the right ones, or damaged: whatever was made of them must go. */
  discard(): void
}

export interface LoadOptions extends CacheOptions {
  /** Given the likely parts while this thread still hashes them, which takes 30 ms. */
  readonly early?: Preparer | undefined
  /** If it was begun already. Default: begun now. */
  readonly guess?: Promise<Guess | undefined>
}

/** Assets, compiled module and bundle, built first if this is the first start of this build. */
export async function loadEngineParts(options: LoadOptions = {}): Promise<EngineParts> {
  return (await beginEngineParts(options)).verified
}

/** As {@link loadEngineParts}, in two steps: settles when `early` has what it needs. */
export async function beginEngineParts(
  options: LoadOptions,
): Promise<{ readonly verified: Promise<EngineParts> }> {
  const { early } = options
  const guess = await (options.guess ?? beginGuess(options))
  const wasm = guess?.wasm ?? readStockWasm()
  const digest = hash('sha256', wasm)
  const guessed = guess && (await guessedParts(guess, digest, early))
  const verify = async (): Promise<EngineParts> => {
    // Each step takes tens of milliseconds; between them the thread hears who wants to connect.
    await turn()
    const fingerprint = await fingerprintOf(digestStock(digest))
    await turn()
    const assets = await ensureAssets(fingerprint, options, guess)
    if (guessed?.assets === assets) return guessed
    if (guess) {
      early?.discard()
      forgetBaseOf(guess.file.descriptor)
    }
    return partsOf(codeOf(compileStock(wasm, assets)), assets)
  }
  return { verified: verify() }
}

/**
 * Undefined if the assets are so damaged that it shows. Its code must be the right one before any
 * of it runs: V8 ends the process at a function that turns out to be invalid when it is called.
 */
async function guessedParts(
  guess: Guess,
  digest: string,
  early: Preparer | undefined,
): Promise<EngineParts | undefined> {
  try {
    const source = assetsIn(guess.file)
    if (!(await isCodeProven(source, digest, (part) => source.sha256(part)))) return undefined
    const code = codeOf(guess.code)
    early?.begin(code)
    const parts = partsOf(code, guess.file)
    early?.prepare(parts)
    return parts
  } catch {
    return undefined
  }
}

function codeOf(code: CompiledCode): EngineCode {
  return { ...code, bundle: openBundle() }
}

function partsOf(code: EngineCode, assets: ProvableFile): EngineParts {
  const source = assetsIn(assets)
  return {
    ...code,
    deltaCode: new WebAssembly.Module(memoryDeltaCode(slotMemory)),
    ...sharedBaseOf(assets.descriptor, () => parseBase(source), source.copy),
    assets,
  }
}

/** Code as one thread uses it. */
type ThreadDoors = Pick<InstanceOptions, 'compileInvokes' | 'pauseCode'>
type ThreadCode = Pick<InstanceOptions, 'factory' | 'module' | 'fillFunctionMap' | 'bundle'> &
  ThreadDoors

/** The beginning of an engine: its first slot, so far as the code goes. */
export interface BegunEngine {
  readonly code: ThreadCode
  readonly instance: Promise<Instance>
}

/** Begins an engine of this thread while its assets are still being read. */
export async function beginEngine(
  code: EngineCode,
  options: Omit<InstanceOptions, keyof ThreadCode>,
): Promise<BegunEngine> {
  const own = threadCode(code)
  const instance = beginInstance({ ...options, ...own })
  // A failure belongs to whoever asks for the slot.
  instance.catch(() => {})
  return { code: own, instance }
}

/** An engine of this thread. @param begun with the same code and options, if it was */
export async function createEngine(
  { assets, deltaCode, base, baseFile, ...code }: EngineParts,
  options: Omit<
    WasmEngineOptions,
    'assets' | 'begun' | 'compileLibrary' | keyof ThreadCode | keyof EngineParts
  >,
  begun?: BegunEngine,
): Promise<WasmEngine> {
  const asked = 'shareBase' in options
  return new WasmEngine({
    ...options,
    shareBase: asked ? options.shareBase : baseFile && baseSharer(base, baseFile),
    ...(begun?.code ?? threadCode(code)),
    begun: begun?.instance,
    assets: parseVerifiedAssets(assetsIn(assets)),
    compileLibrary: compile,
    deltaCode,
    base,
  })
}

function threadCode({ module, exportPlaces, bundle }: EngineCode): ThreadCode {
  return {
    factory: loadFactory(),
    module,
    fillFunctionMap: functionMapFiller(exportPlaces),
    // Emscripten's loader insists on an ArrayBuffer; its files are views of it, so one per thread.
    bundle: new SparseFile(bundle, new ArrayBuffer(bundle.sizeBytes)),
    ...threadDoors(),
  }
}

function compile(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  return new WebAssembly.Module(bytes)
}

/** Made once per thread. */
let doors: ThreadDoors | undefined

/** What lets Postgres call itself without JavaScript in between, if V8 has what it takes. */
function threadDoors(): ThreadDoors {
  return (doors ??= javaScriptTag ? makeDoors() : {})
}

function makeDoors(): ThreadDoors {
  let code: InvokeCode | undefined
  const room = deepStack()
  const pauseCode = room && compilePausing(room, compile)
  return {
    compileInvokes: (names) => (code ??= compileInvokes(names, compile)),
    ...(pauseCode ? { pauseCode } : {}),
  }
}
