/** PGlite's module as an engine has it, read and compiled before anything else is loaded. */
import { readFileSync } from 'node:fs'
import { parseCode } from '../../../engine/engine-assets.ts'
import type { ExportPlaces } from '../../../engine/function-table.ts'
import { lendPatched } from '../../../engine/wasm-module.ts'
import { type AssetFile, type CacheOptions, guessAssets } from './asset-cache.ts'
import { validatingLazily } from '../v8-flags.ts'
import { assetsIn, type SharedFile } from './sparse-file.ts'
import { stockFile } from './stock-folder.ts'

/** An asset file that nobody has verified, and the module that it says belongs to it. */
export interface Guess extends AssetFile {
  /** Of PGlite's module as it is installed. */
  readonly wasm: Uint8Array<ArrayBuffer>
  readonly code: CompiledCode
}

export interface CompiledCode {
  readonly module: WebAssembly.Module
  readonly exportPlaces: ExportPlaces
}

/** Undefined if there is no asset file, or one that is so damaged that it shows. */
export function beginGuess(options: CacheOptions = {}): Guess | undefined {
  const wasm = readStockWasm()
  try {
    const found = guessAssets(options)
    if (!found) return undefined
    return { ...found, wasm, code: compileStock(wasm, found.file) }
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
export function compileStock(wasm: Uint8Array<ArrayBuffer>, assets: SharedFile): CompiledCode {
  const { codePatches, exportPlaces } = parseCode(assetsIn(assets))
  const compile = (patched: Uint8Array<ArrayBuffer>) => new WebAssembly.Module(patched)
  const module = validatingLazily(() => lendPatched(wasm, codePatches, compile))
  return { module, exportPlaces }
}
