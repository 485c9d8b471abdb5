/**
 * The parts of PGlite's Emscripten module that pgnap uses, as types. The module is driven directly:
 * the `PGlite` class around it parses every answer in JavaScript, keeps every parsed message for
 * ever and swallows traps (measured in notes on the wire path: 12 us instead of 5 for a prepared
 * select).
 *
 * Only names that the pinned release exports are listed; `wasm-engine.test.ts` runs them all.
 */
import type { FillFunctionMap } from './function-table.ts'

/** A function exported by wasm, or one that JavaScript lends to it. */
export type WasmFunction = (...values: number[]) => number

/**
 * Imports of the module by name; `sig` tells Emscripten a function's wasm signature, `stub` that
 * there is none of this name.
 */
export type WasmImport = ((...values: number[]) => number) & { sig?: string; stub?: boolean }

/** Emscripten's FSNode: one name in its tree. */
export interface EmscriptenNode {
  readonly id: number
  name: string
  mode: number
  readonly parent: EmscriptenNode
  readonly mount: object
  node_ops: object
  stream_ops: object
}

/** An open descriptor. */
export interface EmscriptenStream {
  readonly node: EmscriptenNode
  readonly path: string
  position: number
  flags: number
}

/** What Emscripten makes a descriptor of. */
export interface EmscriptenStreamParts {
  readonly node: EmscriptenNode
  readonly path: string
  readonly flags: number
  readonly seekable: boolean
  readonly position: number
  readonly stream_ops: object
  readonly ungotten: readonly number[]
  readonly error: boolean
}

/** Emscripten's file system; errno values are those of wasi-libc. */
export interface EmscriptenFs {
  readonly ErrnoError: new (errno: number) => Error & { readonly errno: number }
  readonly streams: (EmscriptenStream | null | undefined)[]
  mkdirTree(path: string, mode?: number): void
  chmod(path: string, mode: number): void
  chdir(path: string): void
  cwd(): string
  readdir(path: string): string[]
  readFile(path: string): Uint8Array<ArrayBuffer>
  writeFile(path: string, data: Uint8Array, options?: { canOwn?: boolean }): void
  analyzePath(path: string): { readonly exists: boolean }
  unlink(path: string): void
  mount(type: object, options: object, mountPoint: string): EmscriptenNode
  isDir(mode: number): boolean
  isFile(mode: number): boolean
  createNode(
    parent: EmscriptenNode | null,
    name: string,
    mode: number,
    device: number,
  ): EmscriptenNode
  createStream(parts: EmscriptenStreamParts, fd: number): EmscriptenStream
  destroyNode(node: EmscriptenNode): void
  lookupNode(parent: EmscriptenNode, name: string): EmscriptenNode
  lookupPath(path: string): { readonly node: EmscriptenNode }
  hashRemoveNode(node: EmscriptenNode): void
}

/** The instantiated module. */
export interface EmscriptenModule {
  readonly FS: EmscriptenFs
  readonly HEAPU8: Uint8Array<ArrayBufferLike>
  readonly ENV: Record<string, string>
  readonly ___stack_pointer: WebAssembly.Global
  readonly _malloc: WasmFunction
  /** Called for each file of the bundle, by its whole path. */
  FS_createDataFile: (path: string, name: null, bytes: Uint8Array) => void
  addFunction(callback: (...values: number[]) => number, signature: string): number
  callMain(commandLine: string[]): number
  UTF8ToString(pointer: number): string
  _PostgresMainLoopOnce(): void
  _PostgresMainLongJmp(): void
  _PostgresSendReadyForQueryIfNecessary(): void
  _IsTransactionBlock(): number
  _GetConfigOption(nameAt: number, missingOk: number, restrictPrivileged: number): number
  _GetSessionUserId(): number
  _GetUserId(): number
  _pq_buffer_remaining_data(): number
  _pgl_pq_flush(): void
  _pgl_set_rw_cbs(read: number, write: number): void
  _pgl_set_system_fn(callback: number): void
  _pgl_set_popen_fn(callback: number): void
  _pgl_set_pclose_fn(callback: number): void
  _pgl_setPGliteActive(active: number): number
  _pgl_startPGlite(): void
  _pgl_run_atexit_funcs(): void
}

/** What the factory takes. */
export interface EmscriptenOptions {
  readonly thisProgram: string
  readonly arguments: readonly string[]
  readonly noExitRuntime: boolean
  readonly wasmMemory: WebAssembly.Memory
  readonly WASM_PREFIX: string
  readonly PGLITE_ENV: object
  readonly pg_extensions: object
  stdin(): number | null
  print(line: string): void
  printErr(line: string): void
  instantiateWasm(
    imports: Record<string, Record<string, WasmImport>>,
    done: (instance: WebAssembly.Instance, module: WebAssembly.Module) => void,
  ): object
  getPreloadedPackage(name: string, bytes: number): ArrayBuffer
  /** Not Emscripten's: see `function-table.ts`. Without it the whole table is looked at. */
  readonly fillFunctionMap: FillFunctionMap | undefined
  readonly preRun: readonly ((module: EmscriptenModule) => void)[]
}

/** The default export of PGlite's `pglite.js`. */
export type EmscriptenFactory = (options: EmscriptenOptions) => Promise<EmscriptenModule>

/** Thrown by the module when Postgres leaves main or a handler: not an `Error` of ours. */
export interface ExitStatus {
  readonly status: number
}

/** Whether `error` is Emscripten's ExitStatus, as thrown by `exit()` inside wasm. */
export function isExitStatus(error: unknown): error is ExitStatus {
  return typeof error === 'object' && error !== null && 'status' in error
}
