/** PGlite's module as an engine has it, read and compiled before anything else is loaded. */
import { readFileSync } from 'node:fs'
import { parseCodePatches } from '../../../engine/engine-assets.ts'
import { lendPatched } from '../../../engine/wasm-module.ts'
import { type AssetFile, type CacheOptions, guessAssets } from './asset-cache.ts'
import { validatingLazily } from '../v8-flags.ts'
import { assetsIn, type SharedFile } from './sparse-file.ts'
import { stockFile } from './stock-folder.ts'

/** An asset file that nobody has verified, and the module that it says belongs to it. */
export interface Guess extends AssetFile {
  /** Of PGlite's module as it is installed. */
  readonly wasm: Uint8Array<ArrayBuffer>
  readonly module: WebAssembly.Module
}

/** Undefined if there is no asset file, or one that is so damaged that it shows. */
export function beginGuess(options: CacheOptions = {}): Guess | undefined {
  const wasm = readStockWasm()
  try {
    const found = guessAssets(options)
    if (!found) return undefined
    return { ...found, wasm, module: compileStock(wasm, found.file) }
  } catch {
    // Whatever it is (the file may just have gone), those who verify it find it again, and say so.
    return undefined
  }
}

/** @throws an error of Node if PGlite is not installed */
export function readStockWasm(): Uint8Array<ArrayBuffer> {
  return readFileSync(stockFile('pglite.wasm'))
}

/** Compiles the module that belongs to these assets, in this thread: 10 ms. */
export function compileStock(
  wasm: Uint8Array<ArrayBuffer>,
  assets: SharedFile,
): WebAssembly.Module {
  const patches = parseCodePatches(assetsIn(assets))
  const compile = (patched: Uint8Array<ArrayBuffer>) => new WebAssembly.Module(patched)
  return validatingLazily(() => lendPatched(wasm, patches, compile))
}
