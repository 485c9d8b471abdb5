/**
 * PGlite's Emscripten glue as Workers can run it: the text of `pglite.js` with a few places of it
 * replaced. Each place must be there exactly as often as expected, so that another release of
 * PGlite fails here, in the build, and not in somebody's Worker.
 *
 *   - code is not compiled at run time: whoever calls `new WebAssembly.Module(bytes)` is given a
 *     module that was compiled ahead (src/host/cloudflare/compiled-modules.ts)
 *   - it is not Node, although `process.versions.node` says so under `nodejs_compat`
 *   - a Worker has no URL of its own
 *   - the file bundle holds only what a running server may open
 */
import { type Replacement, replaceExactly } from '../../src/engine/replace-exactly.ts'

/** A file of PGlite's bundle. */
export interface BundledFile {
  readonly filename: string
  /** Where it lies in `pglite.data`. */
  readonly start: number
  readonly end: number
}

export interface AdaptedGlue {
  readonly code: string
  /** The file bundle that belongs to it, instead of `pglite.data`. */
  readonly bundle: Uint8Array
}

/** The list of files in the glue. */
const FILE_LIST = /\{files:(\[.*?\]),remote_package_size:(\d+)\}/s

/**
 * What initdb needs and a server does not, what is for those who compile extensions, and libraries:
 * those that work are laid over the bundle as tickets (src/engine/library-ticket.ts).
 */
const NOT_SERVED: readonly RegExp[] = [
  /\.so$/,
  /\.sample$/,
  /^\/pglite\/lib\/postgresql\/pgxs\//,
  /^\/pglite\/share\/postgresql\/[^/]+\.(?:bki|sql)$/,
  /^\/pglite\/share\/postgresql\/(?:sql_features|errcodes)\.txt$/,
]

/**
 * @param compiled module specifier of a function `compiled(bytes)` that gives a compiled module
 */
export function adaptGlue(source: string, data: Uint8Array, compiled: string): AdaptedGlue {
  const { list, bundle } = slim(source, data)
  const replacements: readonly Replacement[] = [
    ['new WebAssembly.Module(', 2, 'compiled('],
    ['globalThis.process?.versions?.node', 1, 'false'],
    ['await(import("node:module"))', 1, '{}'],
    ['import.meta.url', 3, '"file:///pglite/"'],
  ]
  const code = replaceExactly(
    source.replace(FILE_LIST, () => list),
    replacements,
  )
  return { code: `import { compiled } from ${JSON.stringify(compiled)};\n${code}`, bundle }
}

function slim(source: string, data: Uint8Array): { list: string; bundle: Uint8Array } {
  const [, listed, size] = FILE_LIST.exec(source) ?? []
  if (listed === undefined || Number(size) !== data.length) {
    throw new Error('the list of files in PGlite’s glue is not that of pglite.data')
  }
  const names = /\{filename:("[^"]*"),start:(\d+),end:(\d+)\}/g
  const files = Array.from(listed.matchAll(names), ([, filename = '', start, end]) => ({
    filename: JSON.parse(filename) as string,
    start: Number(start),
    end: Number(end),
  }))
  if (files.length !== listed.split('{').length - 1) throw new Error('a file that is not read')
  const served = files.filter(({ filename }) => !NOT_SERVED.some((not) => not.test(filename)))
  const bundle = new Uint8Array(served.reduce((sum, { start, end }) => sum + end - start, 0))
  let at = 0
  const moved = served.map(({ filename, start, end }): BundledFile => {
    bundle.set(data.subarray(start, end), at)
    const from = at
    at += end - start
    return { filename, start: from, end: at }
  })
  return {
    list: JSON.stringify({ files: moved, remote_package_size: bundle.length }),
    bundle,
  }
}
