/** The stock files of PGlite, as npm installed them: read here, never changed. */
import { readFileSync } from 'node:fs'
import * as nodeModule from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { gunzipSync } from 'node:zlib'
import type { EmscriptenFactory } from '../../../engine/emscripten.ts'
import type { StockDigests, StockFiles } from '../../../engine/engine-assets.ts'
import { EXTENSIONS } from '../../../engine/recipe.ts'
import { type Replacement, replaceExactly } from '../../../engine/replace-exactly.ts'
import { runKept } from '../kept-code.ts'
import { hashFile, openForever, type OpenFile } from './sparse-file.ts'
import { folderOf, stockFile, stockFolder } from './stock-folder.ts'

/** Extensions that PGlite publishes as packages of their own. */
const SEPARATE_PACKAGES: Readonly<Record<string, string>> = {
  vector: '@electric-sql/pglite-pgvector',
}

/**
 * Reads what a build is made from; extensions stay gzipped (their bytes name the build as well).
 */
export function readStock(): StockFiles {
  return {
    wasm: readFileSync(stockFile('pglite.wasm')),
    bundle: readFileSync(stockFile('pglite.data')),
    glue: readFileSync(stockFile('pglite.js')),
    extensions: new Map(extensionFiles().map(([name, path]) => [name, readFileSync(path)])),
    gunzip: gunzipSync,
  }
}

/** Names the same files without having all of them in memory. @param wasm digest of the module */
export function digestStock(wasm: string): StockDigests {
  return {
    wasm,
    bundle: hashFile(stockFile('pglite.data')),
    glue: hashFile(stockFile('pglite.js')),
    extensions: new Map(extensionFiles().map(([name, path]) => [name, hashFile(path)])),
  }
}

/** `pglite.data`, for whoever needs a file of it. */
export function openBundle(): OpenFile {
  return openForever(stockFile('pglite.data'))
}

function extensionFiles(): readonly (readonly [name: string, path: string])[] {
  return EXTENSIONS.map((name) => {
    const separate = SEPARATE_PACKAGES[name]
    const folder = separate === undefined ? stockFolder() : folderOf(separate)
    return [name, join(folder, `${name}.tar.gz`)]
  })
}

/** How the loader begins to know where functions are in the table. */
const LOOKS_AT_ALL = 'updateTableMap(0,wasmTable.length)'
const ASKS = 'const fill=Module["fillFunctionMap"];fill?fill(functionsInTableMap,wasmExports)'

/**
 * What only a module may say, and what the script says for it; and who is asked instead of each
 * entry of the function table (`function-table.ts`).
 */
const MODULE_WORDS: readonly Replacement[] = [
  ['import.meta.url', 3, 'moduleUrl'],
  ['import("node:module")', 1, 'nodeModule'],
  ['export default Module;', 1, 'return Module;'],
  [LOOKS_AT_ALL, 1, `${ASKS}:${LOOKS_AT_ALL}`],
]

let factory: EmscriptenFactory | undefined

/**
 * Loads PGlite's Emscripten factory, once per thread. It is an ES module, run as a script because
 * of that more can be kept (`kept-code.ts`).
 */
export function loadFactory(): EmscriptenFactory {
  if (factory) return factory
  const path = stockFile('pglite.js')
  const text = replaceExactly(readFileSync(path, 'utf8'), MODULE_WORDS)
  const run = runKept(`(function (moduleUrl, nodeModule) {'use strict';${text}\n})`, path)
  const { href } = pathToFileURL(path)
  return (factory = (run as (url: string, module: unknown) => EmscriptenFactory)(href, nodeModule))
}
