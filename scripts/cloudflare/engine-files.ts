/**
 * The engine as Workers can load it: what the engine build has made for Node, in other clothes. The
 * template and the base are the same bytes, so a store may go from one host to the other.
 *
 *   pglite.js            Emscripten's glue (glue.ts)
 *   pglite.wasm          stock PGlite with a memory that is small and not shared
 *   memory-delta.wasm    compares memories (src/engine/memory-delta.wat)
 *   library-NAME.wasm    the side modules; in the slot's files are their tickets
 *   function-N.wasm      what Emscripten compiles to lend Postgres a JavaScript function
 *   files.bin            files outside PGDATA: the bundle of PGlite, slimmed
 *   engine.bin           template, images, extensions' files: engine-assets.ts, under brotli
 *
 * Which functions are lent shows only when it happens. So the engine is tried here, with the files
 * as they are shipped, up to every extension; a Worker that needed another one would fail.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { brotliCompressSync, constants } from 'node:zlib'
import { assert } from '../../src/base/assert.ts'
import { fromUtf8, utf8 } from '../../src/base/bytes.ts'
import { message } from '../../src/base/protocol-message.ts'
import { type SparseBytes, wholeBytes } from '../../src/base/sparse-bytes.ts'
import { layOut } from '../../src/engine/base-memory.ts'
import type { EmscriptenFactory } from '../../src/engine/emscripten.ts'
import { type EngineAssets, parseCode, sha256 } from '../../src/engine/engine-assets.ts'
import { parseVerifiedAssets } from '../../src/engine/engine-assets.ts'
import { serializeAssets } from '../../src/engine/engine-assets.ts'
import { libraryTicket, nameOnTicket } from '../../src/engine/library-ticket.ts'
import { memoryDeltaCode } from '../../src/engine/memory-delta-code.ts'
import { CONVERSIONS, EXTENSIONS } from '../../src/engine/recipe.ts'
import { unsharedSlotMemory } from '../../src/engine/slot-memory.ts'
import { WasmEngine } from '../../src/engine/wasm-engine.ts'
import { lendPatched, withMemoryLimits } from '../../src/engine/wasm-module.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { assetsIn } from '../../src/host/node/engine/sparse-file.ts'
import { readStock } from '../../src/host/node/engine/stock.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { adaptGlue } from './glue.ts'

/** Raise it when what is made here changes and the engine itself does not. */
const RECIPE_VERSION = 2

/** As for the engine itself in a checkout. */
const CACHE = fileURLToPath(new URL('../../.pgnap-cache', import.meta.url))

/** Of one byte per character: some kilobytes each. The tables of the others are 40 to 110 KB. */
const SMALL_CONVERSIONS: ReadonlySet<string> = new Set([
  'utf8_and_cyrillic.so',
  'utf8_and_iso8859.so',
  'utf8_and_iso8859_1.so',
  'utf8_and_win.so',
])

/**
 * Left out unless they are asked for: more than a sixth of what a Worker may weigh, and the
 * encodings of East Asia, which are a tenth of that together.
 */
export const LARGE_EXTENSIONS: readonly string[] = [
  'pgcrypto',
  ...CONVERSIONS.filter((name) => !SMALL_CONVERSIONS.has(name)).map((name) =>
    basename(name, '.so'),
  ),
]

/** Files of the engine by name, as described above. */
export type EngineFiles = ReadonlyMap<string, Uint8Array>

export interface EngineFilesOptions {
  /** Those of {@link LARGE_EXTENSIONS} that are to be had. Default: none. */
  readonly with?: readonly string[]
  readonly progress?: (step: string) => void
}

/** Makes the files, or takes them from the cache beside the engine's own. About 8 s. */
export async function engineFiles(options: EngineFilesOptions = {}): Promise<EngineFiles> {
  const { progress = () => {} } = options
  const wanted = options.with ?? []
  const unknown = wanted.filter((name) => !LARGE_EXTENSIONS.includes(name))
  if (unknown.length > 0)
    throw new Error(`not one of ${LARGE_EXTENSIONS.join()}: ${unknown.join()}`)
  const without = LARGE_EXTENSIONS.filter((name) => !wanted.includes(name))
  const source = assetsIn((await loadEngineParts({ progress })).assets)
  source.fill(source.bytes)
  const key = createHash('sha256')
    .update(source.bytes)
    .update(JSON.stringify([RECIPE_VERSION, without]))
  const folder = join(CACHE, `cloudflare-${key.digest('hex').slice(0, 32)}`)
  if (existsSync(folder)) return readFolder(folder)
  progress('engine for Workers')
  const files = await makeFiles(source, without)
  const partial = `${folder}.${process.pid}`
  mkdirSync(partial, { recursive: true })
  for (const [name, content] of files) writeFileSync(join(partial, name), content)
  // Whoever made the same at the same time has made the same.
  if (existsSync(folder)) rmSync(partial, { recursive: true })
  else renameSync(partial, folder)
  return files
}

function readFolder(folder: string): EngineFiles {
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]))
}

async function makeFiles(source: SparseBytes, without: readonly string[]): Promise<EngineFiles> {
  const assets = parseVerifiedAssets(source)
  const { codePatches, exportPlaces } = parseCode(source)
  const stock = readStock()
  const files = new Map<string, Uint8Array>()
  const wasm = lendPatched(stock.wasm.slice(), codePatches, (patched) =>
    withMemoryLimits(patched, () => unsharedSlotMemory),
  )
  files.set('pglite.wasm', wasm)
  files.set('memory-delta.wasm', memoryDeltaCode(unsharedSlotMemory))
  const overlay = new Map<string, Uint8Array>()
  for (const [path, bytes] of assets.overlay) {
    if (without.some((name) => isOf(name, path))) continue
    const [, library] = /([^/]+)\.so$/.exec(path) ?? []
    overlay.set(path, library === undefined ? bytes : libraryTicket(bytes, library))
    if (library === undefined) continue
    const code = withMemoryLimits(bytes, () => ({ ...unsharedSlotMemory, minimumPages: 1 }))
    files.set(`library-${library}.wasm`, code)
  }
  const moduleDigest = await sha256(stock.wasm)
  const packed = await serializeAssets({
    ...assets,
    overlay,
    codePatches,
    exportPlaces,
    moduleDigest,
  })
  const { code, bundle } = adaptGlue(fromUtf8(stock.glue), stock.bundle, 'pgnap:compiled')
  files.set('pglite.js', utf8(code))
  files.set('files.bin', bundle)
  files.set('engine.bin', compress(packed))
  const lent = await trial(files, parseVerifiedAssets(wholeBytes(packed)))
  for (const [index, bytes] of lent.entries()) files.set(`function-${index}.wasm`, bytes)
  return files
}

/** Whether a file belongs to an extension: its library, its control file, its scripts. */
function isOf(extension: string, path: string): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1)
  return name.startsWith(`${extension}.`) || name.startsWith(`${extension}--`)
}

/** The base repeats what the template holds, which only a window larger than both can see. */
function compress(bytes: Uint8Array): Uint8Array {
  return brotliCompressSync(bytes, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 9,
      [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  })
}

/** Runs the engine; the modules that were compiled on the way, libraries aside. */
async function trial(files: EngineFiles, assets: EngineAssets): Promise<readonly Uint8Array[]> {
  const lent = new Map<string, Uint8Array>()
  const compile = (name: string): WebAssembly.Module => {
    const bytes = files.get(name)
    assert(bytes, `there is ${name}`)
    return new WebAssembly.Module(bytes.slice())
  }
  const compiled = (bytes: Uint8Array): WebAssembly.Module => {
    const library = nameOnTicket(bytes)
    if (library !== undefined) return compile(`library-${library}.wasm`)
    lent.set(bytes.join(), bytes.slice())
    return new WebAssembly.Module(bytes.slice())
  }
  const slot = await new WasmEngine({
    factory: await importGlue(files, compiled),
    module: compile('pglite.wasm'),
    deltaCode: compile('memory-delta.wasm'),
    bundle: wholeBytes((files.get('files.bin') ?? new Uint8Array(0)).slice()),
    memory: unsharedSlotMemory,
    base: layOut(assets.base, unsharedSlotMemory),
    assets,
    compileLibrary: compiled,
    clock: systemClock,
    random: systemRandom,
    verifySwaps: true,
  }).createSlot()
  const tenant = TenantFiles.inMemory({ template: assets.template, clock: systemClock })
  slot.boot(tenant)
  const offered = EXTENSIONS.filter((name) =>
    [...assets.overlay.keys()].some((path) => path.endsWith(`/${name}.control`)),
  )
  for (const name of offered) runStatement(slot, `create extension "${name}" cascade`)
  slot.shutDown()
  return [...lent.values()]
}

function runStatement(slot: WasmSlot, statement: string): void {
  const answer = fromUtf8(slot.run(message('Q', utf8(`${statement}\0`))).slice())
  assert(!answer.startsWith('E'), `"${statement}" can be run: ${answer}`)
}

/** Loads the adapted glue into this process, with `compiled` for its import of that name. */
async function importGlue(
  files: EngineFiles,
  compiled: (bytes: Uint8Array) => WebAssembly.Module,
): Promise<EmscriptenFactory> {
  const folder = mkdtempSync(join(tmpdir(), 'pgnap-glue-'))
  const key = Symbol.for(folder)
  Object.assign(globalThis, { [key]: compiled })
  try {
    const standIn = `export const compiled = globalThis[Symbol.for(${JSON.stringify(folder)})];\n`
    writeFileSync(join(folder, 'compiled.mjs'), standIn)
    const glue = fromUtf8(files.get('pglite.js') ?? new Uint8Array(0))
    writeFileSync(join(folder, 'glue.mjs'), glue.replace('pgnap:compiled', './compiled.mjs'))
    const url = pathToFileURL(join(folder, 'glue.mjs')).href
    return ((await import(url)) as { default: EmscriptenFactory }).default
  } finally {
    Reflect.deleteProperty(globalThis, key)
    rmSync(folder, { recursive: true })
  }
}
