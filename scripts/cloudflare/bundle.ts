/**
 * Bundles a Worker: one ES module with everything that is JavaScript, and beside it, imported by
 * it, what is WebAssembly or data. The platform compiles the one ahead and hands out the other as
 * buffers; a program cannot read files there, nor compile.
 *
 *     worker.js   the program
 *     *.wasm      rule CompiledWasm
 *     *.bin       rule Data
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { rolldown, type Plugin } from 'rolldown'
import { fromUtf8 } from '../../src/base/bytes.ts'
import type { EngineFiles } from './engine-files.ts'
import { adaptedSqlJs, sqlJsCode } from './sql-js.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COMPILED_MODULES = join(ROOT, 'src/host/cloudflare/compiled-modules.ts')
const GLUE = 'pgnap:glue'
/** What the platform gives. */
const PLATFORM = /^(?:node|cloudflare):/
/** Beside the program. */
const BESIDE = /^\.\/[\w-]+\.(?:wasm|bin)$/

/** First modules of the two Workers, from the root of this repository. */
export const WORKER_ENTRY = 'src/cloudflare.ts'
export const ARCHITECTURES_ENTRY = 'src/host/cloudflare/architectures/main.ts'

const SQL_JS_CODE = 'sql-js.wasm'

/** Files of a Worker by name, `worker.js` among them. */
export type WorkerFiles = ReadonlyMap<string, Uint8Array>

export interface BundleOptions {
  /** The program's first module, from the root of this repository. */
  readonly entry: string
  readonly engine: EngineFiles
  /** Other modules instead of some, by specifier: paths from the root of this repository. */
  readonly instead?: Readonly<Record<string, string>>
}

export async function bundleWorker(options: BundleOptions): Promise<WorkerFiles> {
  const { entry, engine, instead = {} } = options
  await using build = await rolldown({
    input: resolve(ROOT, entry),
    platform: 'neutral',
    external: (id) => !(id in instead) && (PLATFORM.test(id) || BESIDE.test(id)),
    resolve: { mainFields: ['module', 'main'], conditionNames: ['workerd', 'worker', 'import'] },
    plugins: [replaced(instead), engineModules(engine)],
    // Emscripten's glue has an eval for code that a library may carry; ours carry none.
    checks: { eval: false },
  })
  const { output } = await build.generate({ format: 'esm', codeSplitting: false })
  const [program] = output
  const files = new Map<string, Uint8Array>([['worker.js', Buffer.from(program.code)]])
  for (const imported of program.imports) {
    if (PLATFORM.test(imported)) continue
    const name = imported.replace(/^\.\//, '')
    const content = name === SQL_JS_CODE ? sqlJsCode() : engine.get(name)
    if (content === undefined) throw new Error(`${name} is no file of the engine`)
    files.set(name, content)
  }
  return files
}

/** Writes the files of a Worker into a folder. */
export function writeWorker(files: WorkerFiles, folder: string): void {
  mkdirSync(folder, { recursive: true })
  for (const [name, content] of files) writeFileSync(join(folder, name), content)
}

/** Bytes as they are, and as the platform counts them. */
export interface WorkerSize {
  readonly bytes: number
  readonly gzipBytes: number
}

export function sizeOf(files: WorkerFiles): WorkerSize {
  let [bytes, gzipBytes] = [0, 0]
  for (const content of files.values()) {
    bytes += content.length
    gzipBytes += gzipSync(content).length
  }
  return { bytes, gzipBytes }
}

function replaced(instead: Readonly<Record<string, string>>): Plugin {
  return {
    name: 'replaced',
    resolveId: (id) => (instead[id] === undefined ? null : resolve(ROOT, instead[id])),
  }
}

/** The modules that src/host/cloudflare/bundled.d.ts declares, and the glue behind them. */
function engineModules(engine: EngineFiles): Plugin {
  const modules: Readonly<Record<string, () => string>> = {
    [GLUE]: () => fromUtf8(engine.get('pglite.js') ?? new Uint8Array(0)),
    'pgnap:engine': engineModule,
    'pgnap:modules': () => moduleTables(engine),
    'pgnap:sql-js': sqlJsModule,
    'pgnap:version': versionModule,
  }
  return {
    name: 'engine-modules',
    resolveId: (id) => {
      if (id === 'pgnap:compiled') return COMPILED_MODULES
      return modules[id] ? { id, moduleSideEffects: false } : null
    },
    load: (id) => modules[id]?.() ?? null,
  }
}

function engineModule(): string {
  return [
    `export { default as factory } from '${GLUE}'`,
    `export { default as module } from './pglite.wasm'`,
    `export { default as deltaCode } from './memory-delta.wasm'`,
    `export { default as bundle } from './files.bin'`,
    `export { default as assets } from './engine.bin'`,
  ].join('\n')
}

function sqlJsModule(): string {
  return `${adaptedSqlJs()}\nexport { default as code } from './${SQL_JS_CODE}'`
}

function versionModule(): string {
  const text = readFileSync(join(ROOT, 'package.json'), 'utf8')
  const { version } = JSON.parse(text) as { version: string }
  return `export const version = ${JSON.stringify(version)}`
}

/** Libraries by the name on their tickets; functions by their bytes, which are few. */
function moduleTables(engine: EngineFiles): string {
  const imports: string[] = []
  const tables = { libraries: [] as string[], functions: [] as string[] }
  for (const [file, bytes] of engine) {
    const [, kind, name] = /^(library|function)-(.+)\.wasm$/.exec(file) ?? []
    if (kind === undefined) continue
    const binding = `module${imports.length}`
    imports.push(`import ${binding} from './${file}'`)
    const key = JSON.stringify(kind === 'library' ? name : bytes.join())
    tables[kind === 'library' ? 'libraries' : 'functions'].push(`[${key}, ${binding}]`)
  }
  const exports = Object.entries(tables).map(
    ([name, entries]) => `export const ${name} = new Map([${entries.join(', ')}])`,
  )
  return [...imports, ...exports].join('\n')
}
