/**
 * PGlite's module as an engine has it, read and compiled before anything else is loaded: what takes
 * longest in a start goes on beside that.
 */
import { readFileSync } from 'node:fs'
import { parseCodePatches } from '../../../engine/engine-assets.ts'
import { lendPatched } from '../../../engine/wasm-module.ts'
import { type AssetFile, type CacheOptions, guessAssets } from './asset-cache.ts'
import { validateLazily } from '../v8-flags.ts'
import { assetsIn, type SharedFile } from './sparse-file.ts'
import { stockFile } from './stock-folder.ts'

/** An asset file that nobody has verified, and the module that it says belongs to it. */
export interface Guess extends AssetFile {
  /** Of PGlite's module as it is installed. */
  readonly wasm: Uint8Array<ArrayBuffer>
  readonly module: WebAssembly.Module
}

/** Undefined if there is no asset file, or one that is so damaged that it shows. */
export async function beginGuess(options: CacheOptions = {}): Promise<Guess | undefined> {
  const wasm = readStockWasm()
  try {
    const found = guessAssets(options)
    if (!found) return undefined
    return { ...found, wasm, module: await compileStock(wasm, found.file) }
  } catch {
    // Whatever it is (the file may just have gone), those who verify it find it again, and say so.
    return undefined
  }
}

/** @throws an error of node:fs if PGlite is not installed */
export function readStockWasm(): Uint8Array<ArrayBuffer> {
  return readFileSync(stockFile('pglite.wasm'))
}

/** Compiles the module that belongs to these assets. */
export async function compileStock(
  wasm: Uint8Array<ArrayBuffer>,
  assets: SharedFile,
): Promise<WebAssembly.Module> {
  validateLazily()
  const patches = parseCodePatches(assetsIn(assets))
  // By specification the bytes are copied before the promise is returned.
  return lendPatched(wasm, patches, (patched) => WebAssembly.compile(patched))
}
