/**
 * Finds the engine's assets, builds them if they are not there, and turns them into what a thread
 * needs to make slots. The expensive parts (compiled wasm, asset bytes, stock bundle) are shared by
 * all threads of the process: `EngineParts` can be posted to a worker.
 *
 * Where assets are looked for, in this order:
 *   1. `assets/` beside the published code (a package from npm brings them along)
 *   2. the cache: $PGNAP_CACHE, or `.pgnap-cache` in a checkout, or the user's cache folder
 */
import { spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { PgnapError } from '../../../base/errors.ts'
import type { Fingerprint } from '../../../base/ids.ts'
import {
  fingerprintOf,
  parseAssets,
  parseBase,
  parseVerifiedAssets,
} from '../../../engine/engine-assets.ts'
import { type LaidOutBase, layOut } from '../../../engine/base-memory.ts'
import { memoryDeltaCode } from '../../../engine/memory-delta-code.ts'
import { withMemoryLimits } from '../../../engine/wasm-module.ts'
import type { Instance } from '../../../engine/instance.ts'
import {
  beginInstance,
  type InstanceOptions,
  slotMemory,
  WasmEngine,
  type WasmEngineOptions,
} from '../../../engine/wasm-engine.ts'
import { besideModule } from '../module-url.ts'
import { packageRoot } from '../package-root.ts'
import { loadFactory, readStock, readStockCode, type StockCode } from './stock.ts'

/** What a slot begins with; posting it copies nothing. */
export interface EngineCode {
  readonly module: WebAssembly.Module
  readonly bundle: SharedArrayBuffer
}

/** What every thread needs; posting it copies nothing large. */
export interface EngineParts extends EngineCode {
  readonly deltaCode: WebAssembly.Module
  readonly base: LaidOutBase
  readonly assets: Uint8Array<SharedArrayBuffer>
}

/** Somebody who makes a slot of parts that are not verified yet, and serves nobody with it. */
export interface Preparer {
  /** The code is there; the rest is being read. */
  begin(code: EngineCode): void
  /** There may be none: then the code was the right one, and the assets have yet to be built. */
  prepare(parts: EngineParts): void
  /** The parts were not the right ones, or damaged: whatever was made of them must go. */
  discard(): void
}

export interface LoadOptions {
  /** Given the likely parts while this thread still hashes them, which takes 50 ms. */
  readonly early?: Preparer | undefined
  /** Told about each step of a build, the only part that takes seconds. */
  readonly progress?: (step: string) => void
  /** The one folder where assets are looked for and built. Default: as above. */
  readonly cacheFolder?: string
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
  const stockCode = readStockCode()
  const code = await engineCode(stockCode)
  early?.begin(code)
  const guess = early && guessAssets(options)
  const guessed = guess && layOutGuess(guess.bytes)
  const deltaCode = new WebAssembly.Module(memoryDeltaCode(slotMemory))
  if (guess && guessed) early?.prepare({ ...code, deltaCode, base: guessed, assets: guess.bytes })
  const verify = async (): Promise<EngineParts> => {
    const assets = await verifiedAssets(stockCode, options, guess)
    const right = guess !== undefined && assets === guess.bytes
    if (guessed && !right) early?.discard()
    const base = right && guessed ? guessed : layOut(parseBase(assets), slotMemory)
    return { ...code, deltaCode, base, assets }
  }
  return { verified: verify() }
}

async function engineCode({ wasm, bundle }: StockCode): Promise<EngineCode> {
  // Each function is validated when it is first compiled, and few of them ever are: 9 MB are known
  // by their hash, and checking them all at each start takes 30 ms of processor time.
  setFlagsFromString('--wasm-lazy-validation')
  const compiling = WebAssembly.compile(withMemoryLimits(wasm, slotMemory))
  const shared = new SharedArrayBuffer(bundle.length)
  new Uint8Array(shared).set(bundle)
  return { module: await compiling, bundle: shared }
}

/** The base of assets that nobody has verified; undefined if they are so damaged that it shows. */
function layOutGuess(bytes: Uint8Array): LaidOutBase | undefined {
  try {
    return layOut(parseBase(bytes), slotMemory)
  } catch {
    return undefined
  }
}

async function verifiedAssets(
  code: StockCode,
  options: LoadOptions,
  guess: AssetFile | undefined,
): Promise<EngineParts['assets']> {
  // Each step takes tens of milliseconds; between them the thread hears who wants to connect.
  await turn()
  const fingerprint = await fingerprintOf(readStock(code), nodeHash)
  await turn()
  return ensureAssets(fingerprint, options, guess)
}

interface AssetFile {
  readonly path: string
  readonly bytes: Uint8Array<SharedArrayBuffer>
}

/**
 * The asset file that is most likely the right one, before the hash of the stock files has named
 * it: a package has one, a cache is used for its newest one.
 */
function guessAssets(options: LoadOptions): AssetFile | undefined {
  for (const folder of assetFolders(options)) {
    if (!existsSync(folder)) continue
    const [path] = readdirSync(folder)
      .filter((name) => /^engine-[0-9a-f]+\.bin$/.test(name))
      .map((name) => join(folder, name))
      .toSorted((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)
    if (path !== undefined) return { path, bytes: readShared(path) }
  }
  return undefined
}

/** Code as one thread uses it. */
type ThreadCode = Pick<InstanceOptions, 'factory' | 'module' | 'bundle'>

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
  const own = await threadCode(code)
  const instance = beginInstance({ ...options, ...own })
  // A failure belongs to whoever asks for the slot.
  instance.catch(() => {})
  return { code: own, instance }
}

/** An engine of this thread. @param begun with the same code and options, if it was */
export async function createEngine(
  { assets, deltaCode, base, ...code }: EngineParts,
  options: Omit<WasmEngineOptions, 'assets' | 'begun' | keyof ThreadCode | keyof EngineParts>,
  begun?: BegunEngine,
): Promise<WasmEngine> {
  return new WasmEngine({
    ...options,
    ...(begun?.code ?? (await threadCode(code))),
    begun: begun?.instance,
    assets: parseVerifiedAssets(assets),
    deltaCode,
    base,
  })
}

async function threadCode({ module, bundle }: EngineCode): Promise<ThreadCode> {
  return {
    factory: await loadFactory(),
    module,
    // Emscripten's loader insists on an ArrayBuffer; its files are views of it, so one per thread.
    bundle: new Uint8Array(bundle).slice().buffer,
  }
}

/** File name of the assets of one build. */
export function assetFileName(fingerprint: Fingerprint): string {
  return `engine-${fingerprint}.bin`
}

/** Builds the assets of this checkout or package into `folder`; returns the file's path. */
export async function buildAssetFile(
  folder: string,
  fingerprint: Fingerprint,
  progress: (step: string) => void,
): Promise<string> {
  mkdirSync(folder, { recursive: true })
  const output = join(folder, assetFileName(fingerprint))
  const program = fileURLToPath(besideModule(import.meta.url, './build-main'))
  const child = spawn(process.execPath, [program, output], { stdio: ['ignore', 'pipe', 'pipe'] })
  const complaints: string[] = []
  child.stderr.setEncoding('utf8').on('data', (text: string) => complaints.push(text))
  createInterface(child.stdout).on('line', progress)
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (status !== 0) {
    throw new PgnapError('ENGINE_ASSETS_INVALID', 'the engine could not be built', {
      detail: complaints.join('').slice(-2000),
      hint: `check that ${folder} is writable and has 40 MB to spare`,
    })
  }
  return output
}

async function ensureAssets(
  fingerprint: Fingerprint,
  options: LoadOptions,
  guess: AssetFile | undefined,
): Promise<Uint8Array<SharedArrayBuffer>> {
  const name = assetFileName(fingerprint)
  const { progress = () => {}, cacheFolder = defaultCacheFolder() } = options
  const paths = assetFolders(options).map((folder) => join(folder, name))
  const found = paths.find((path) => existsSync(path))
  if (found !== undefined) {
    const bytes = found === guess?.path ? guess.bytes : readShared(found)
    if (await isIntact(bytes, fingerprint)) return bytes
    progress('the cached engine is damaged, building it anew')
  }
  const bytes = readShared(await buildAssetFile(cacheFolder, fingerprint, progress))
  await parseAssets(bytes, fingerprint, nodeHash)
  return bytes
}

/** Where assets may be, in the order in which they are looked for. */
function assetFolders({ cacheFolder }: LoadOptions): readonly string[] {
  if (cacheFolder !== undefined) return [cacheFolder]
  return [join(packageRoot(), 'dist', 'assets'), defaultCacheFolder()]
}

async function isIntact(bytes: Uint8Array, fingerprint: Fingerprint): Promise<boolean> {
  try {
    await parseAssets(bytes, fingerprint, nodeHash)
    return true
  } catch (error) {
    if (error instanceof PgnapError && error.code === 'ENGINE_ASSETS_INVALID') return false
    throw error
  }
}

/** Hashes in place and at the speed of the processor's own instructions: 20 ms for all of it. */
function nodeHash(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex')
}

function readShared(path: string): Uint8Array<SharedArrayBuffer> {
  const descriptor = openSync(path, 'r')
  try {
    const { size } = fstatSync(descriptor)
    const bytes = new Uint8Array(new SharedArrayBuffer(size))
    let at = 0
    while (at < size) {
      const count = readSync(descriptor, bytes, at, size - at, at)
      if (count === 0) break
      at += count
    }
    return bytes
  } finally {
    closeSync(descriptor)
  }
}

function defaultCacheFolder(): string {
  const chosen = process.env['PGNAP_CACHE']
  if (chosen !== undefined && chosen !== '') return chosen
  const root = packageRoot()
  if (existsSync(join(root, 'src'))) return join(root, '.pgnap-cache')
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'pgnap')
}
