/** The stock files of PGlite, as npm installed them: read here, never changed. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { gunzipSync } from 'node:zlib'
import type { EmscriptenFactory } from '../../../engine/emscripten.ts'
import type { StockFiles } from '../../../engine/engine-assets.ts'
import { EXTENSIONS } from '../../../engine/recipe.ts'

/** Extensions that PGlite publishes as packages of their own. */
const SEPARATE_PACKAGES: Readonly<Record<string, string>> = {
  vector: '@electric-sql/pglite-pgvector',
}

const folderOf = (name: string): string => dirname(fileURLToPath(import.meta.resolve(name)))
const stockFolder = (): string => folderOf('@electric-sql/pglite')

/** What a slot begins with. */
export type StockCode = Pick<StockFiles, 'wasm' | 'bundle'>

const read = (name: string): Uint8Array => readFileSync(join(stockFolder(), name))

export function readStockCode(): StockCode {
  return { wasm: read('pglite.wasm'), bundle: read('pglite.data') }
}

/**
 * Reads what a build is made from; extensions stay gzipped (their bytes name the build as well).
 */
export function readStock(code: StockCode = readStockCode()): StockFiles {
  const extensions = EXTENSIONS.map((name) => {
    const separate = SEPARATE_PACKAGES[name]
    const folder = separate === undefined ? stockFolder() : folderOf(separate)
    return [name, readFileSync(join(folder, `${name}.tar.gz`))] as const
  })
  return {
    ...code,
    glue: read('pglite.js'),
    extensions: new Map(extensions),
    gunzip: gunzipSync,
  }
}

/** Loads PGlite's Emscripten factory. It is not among the package's exports, hence by path. */
export async function loadFactory(): Promise<EmscriptenFactory> {
  const url = pathToFileURL(join(stockFolder(), 'pglite.js')).href
  const glue = (await import(url)) as { default: EmscriptenFactory }
  return glue.default
}
