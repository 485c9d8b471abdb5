/**
 * pg_dump as PGlite's tools publish it: a module of WebAssembly, and Emscripten's glue in a file
 * that is made for `require`. In a checkout they are where npm has put them, in what is published
 * in a folder beside the program (scripts/bundle.ts).
 */
import { readFileSync } from 'node:fs'
import * as nodeModule from 'node:module'
import { join } from 'node:path'
import { runInThisContext } from 'node:vm'
import { type Replacement, replaceExactly } from '../../../engine/replace-exactly.ts'
import { folderOf } from '../engine/stock-folder.ts'

export const PG_DUMP_PACKAGE = '@electric-sql/pglite-tools'
/** What of the package is published, and the folder that it lies in there. */
export const PG_DUMP_FILES: readonly string[] = ['pg_dump.cjs', 'pg_dump.wasm']
export const PG_DUMP_FOLDER = 'pg-dump'

/** The parts of the module that are used. */
export interface PgDumpModule {
  readonly ENV: Record<string, string>
  readonly HEAPU8: Uint8Array
  readonly FS: {
    makedev(major: number, minor: number): number
    registerDevice(device: number, operations: DeviceOperations): void
    mkdev(path: string, mode: number, device: number): void
    writeFile(path: string, content: string, options: { readonly mode: number }): void
  }
  onRuntimeInitialized?: () => void
  /** @param signature `iii`: takes two numbers and returns one */
  addFunction(lent: (pointer: number, bytes: number) => number, signature: 'iii'): number
  /** By which it receives from its server, and sends. */
  _pgl_set_rw_cbs(receive: number, send: number): void
  callMain(words: string[]): void
}

interface DeviceOperations {
  open(stream: { seekable: boolean }): void
  /** Takes bytes of `memory`; how many. */
  write(stream: unknown, memory: Uint8Array, at: number, bytes: number): number
}

export interface PgDumpOptions {
  readonly wasmBinary: Uint8Array
  readonly thisProgram: string
  readonly noExitRuntime: false
  readonly print: (line: string) => void
  readonly printErr: (line: string) => void
  readonly onExit: (status: number) => void
  readonly preRun: readonly ((module: PgDumpModule) => void)[]
}

export interface PgDumpProgram {
  readonly wasm: Uint8Array
  readonly create: (options: PgDumpOptions) => Promise<PgDumpModule>
}

/** What has to be said otherwise in a script, and by it. */
const SCRIPT_WORDS: readonly Replacement[] = [
  ['import("module")', 1, 'nodeModule'],
  // The package lends pg_dump only in a form that holds a whole dump in memory, as INSERTs.
  ['0&&(module.exports={pgDump});', 1, 'return $;'],
]

/** Reads it. */
export function loadPgDump(): PgDumpProgram {
  const folder = import.meta.url.endsWith('.ts')
    ? folderOf(PG_DUMP_PACKAGE)
    : join(import.meta.dirname, PG_DUMP_FOLDER)
  const glue = join(folder, 'pg_dump.cjs')
  const text = replaceExactly(readFileSync(glue, 'utf8'), SCRIPT_WORDS)
  const script = `(function (module, nodeModule, __filename) {${text}\n})`
  const run = runInThisContext(script, { filename: glue }) as (...values: unknown[]) => unknown
  const create = run({}, nodeModule, glue) as PgDumpProgram['create']
  return { wasm: readFileSync(join(folder, 'pg_dump.wasm')), create }
}
