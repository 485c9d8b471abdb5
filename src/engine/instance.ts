/**
 * One instantiated module, before it holds anything: memory, imports as pgnap wants them,
 * callbacks, side modules. Every instance of one build is made by the same steps in the same order,
 * so that all of them have the same memory layout and the same function table; `tableLength` and
 * the pre-main image are checked against each other for that reason.
 */
import { assert } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { SparseBytes } from '../base/sparse-bytes.ts'
import type { TenantFiles } from '../store/tenant-files.ts'
import type {
  EmscriptenFactory,
  EmscriptenModule,
  EmscriptenNode,
  EmscriptenStream,
  WasmFunction,
  WasmImport,
} from './emscripten.ts'
import { RECORD_BYTES, writeRecords } from './directory-records.ts'
import type { EngineFunction, EngineVariable } from './engine-symbols.ts'
import { ENVIRONMENT, WASM_PREFIX } from './environment.ts'
import type { FilePack } from './file-pack.ts'
import { FilePlacer } from './file-placer.ts'
import type { FillFunctionMap } from './function-table.ts'
import type { CancelFlags } from './interrupts.ts'
import { type InvokeCode, type InvokeHost, openInvokes } from './invoke-code.ts'
import { LentFunctions } from './lent-functions.ts'
import type { LibraryCode } from './library-code.ts'
import { type LibraryExports, LibraryLoader, type ReplaceImport } from './library-loader.ts'
import { longJumpOf } from './slot-libraries.ts'
import { type FineWallClock, interruptibleClock, type WasiClock } from './module-clock.ts'
import { DOOR_IMPORT, type PauseCode, Pausing } from './pausing.ts'
import { type ClearMapping, MAPPING_DOOR_IMPORT } from './shared-memory.ts'
import { sealFiles } from './sealed-files.ts'
import { PGDATA, SlotFiles } from './slot-files.ts'
import { growInSteps, type MayGrow, type SlotMemory } from './slot-memory.ts'
import type { ExportedFunction } from './wal-tail.ts'

const SIGUSR1 = 10
/** The first two descriptors after stdio: Postgres's self-pipe. */
const PIPE_DESCRIPTORS = [3, 4] as const
/** Severities after which a backend ends. */
const SAYS_WHY = /\b(?:FATAL|PANIC): /
/** struct pg_prng_state: two 64-bit words. */
const RANDOM_STATE_BYTES = 16

/** As Emscripten makes them: regular files, for everybody. */
const BUNDLE_FILE_MODE = 0o100777
const OVERLAY_FILE_MODE = 0o100666

/** What an instance begins with; all of a process share it. */
export interface CodeParts {
  readonly factory: EmscriptenFactory
  readonly module: WebAssembly.Module
  /** The stock file bundle, `pglite.data`, alone in its buffer. */
  readonly bundle: SparseBytes
  readonly memory: SlotMemory
  /** For `module`. Default: the loader finds out. */
  readonly fillFunctionMap?: FillFunctionMap | undefined
  /** Default: functions are called through pointers by Emscripten's JavaScript. */
  readonly compileInvokes?: CompileInvokes
  /** {@link compilePausing}, once per thread. Default: no statement pauses. */
  readonly pauseCode?: PauseCode
  /** Bytes that a tenant may have dirtied and not committed. */
  readonly dirtyBytesMax: number
  /** Lines that Postgres writes to its log. */
  readonly serverLog: (line: string) => void
  /** Default: wall time has milliseconds, as in the build, whose clock stands still. */
  readonly wall?: FineWallClock
}

/** {@link compileInvokes}, once per thread. */
export type CompileInvokes = (names: readonly string[]) => InvokeCode

/** What an instance is completed with; all of a process share it. */
export interface LibraryParts {
  /** Files laid over the bundle: patched side modules, extensions. */
  readonly overlay: FilePack
  /** Of the bytes that `overlay` is made of. */
  readonly fill: SparseBytes['fill']
  /** Functions that each base library exports, by library name. */
  readonly libraryExports: LibraryExports
  /** Libraries of extensions, for all instances of this thread. */
  readonly libraryCode: LibraryCode
}

/** A folder of Emscripten's own file system. */
type MemoryFolder = EmscriptenNode & { readonly contents: Readonly<Record<string, EmscriptenNode>> }

export class Instance {
  readonly memory: WebAssembly.Memory
  readonly files: SlotFiles
  /** Asked before an unshared memory grows by so many bytes. Default: it may. */
  mayGrow: MayGrow | undefined
  /** Called for whatever C's `mmap` maps. */
  clearMapping: ClearMapping = (at, bytes) => void this.module.HEAPU8.fill(0, at, at + bytes)
  #lent: LentFunctions | undefined
  #module: EmscriptenModule | undefined
  #exports: WebAssembly.Exports = {}
  #imports: Record<string, WasmImport> = {}
  #flags: CancelFlags | undefined
  #lastWords: string | undefined
  #selfPipe: (EmscriptenStream | null | undefined)[] | undefined
  #sharedMemoryFolder: MemoryFolder | undefined
  #pausing: Pausing | undefined
  readonly #libraries = new LibraryLoader(() => this.module)

  private constructor(parts: CodeParts) {
    this.memory = new WebAssembly.Memory({
      initial: parts.memory.minimumPages,
      maximum: parts.memory.maximumPages,
      shared: parts.memory.shared,
    })
    this.files = new SlotFiles(parts.dirtyBytesMax, (at, block) =>
      Number(this.functionOf('pg_checksum_page')(at, block)),
    )
  }

  /**
   * Instantiates the module with PGDATA pointing at `placeholder`. About 30 ms. Nothing may be done
   * with it before it is completed.
   */
  static async begin(parts: CodeParts, placeholder: TenantFiles): Promise<Instance> {
    const instance = new Instance(parts)
    await instance.#instantiate(parts, placeholder)
    return instance
  }

  /** Lays files over those of the bundle and loads the base libraries. Once. About 10 ms. */
  complete({ overlay, libraryExports, libraryCode, fill }: LibraryParts): void {
    const placer = new FilePlacer(this.module.FS, fill)
    for (const [path, bytes] of overlay) placer.place(path, bytes, OVERLAY_FILE_MODE)
    this.#lent = new LentFunctions(
      this.module,
      this.functionOf('standard_ProcessUtility'),
      this.#pausing,
    )
    this.#libraries.begin(libraryCode, libraryExports, {
      memory: this.memory,
      table: this.#table,
      exports: this.#exports,
      symbols: this.#imports,
    })
    sealFiles(this.module.FS, `${WASM_PREFIX}/bin/postgres`)
  }

  get module(): EmscriptenModule {
    assert(this.#module, 'the module is instantiated')
    return this.#module
  }

  /** End of the heap in bytes; memory beyond it is as in the base, or zero. */
  get heapEnd(): number {
    const pointer = (this.#exports['emscripten_get_sbrk_ptr'] as WasmFunction)()
    const heap = this.module.HEAPU8
    return new DataView(heap.buffer).getUint32(pointer, true)
  }

  /** End of the static variables in bytes. */
  get heapStart(): number {
    return this.addressOf('__heap_base')
  }

  get tableLength(): number {
    return this.#table.length
  }

  get #table(): WebAssembly.Table {
    return this.#exports['__indirect_function_table'] as WebAssembly.Table
  }

  /** Undefined where statements cannot pause. */
  get pausing(): Pausing | undefined {
    return this.#pausing
  }

  get cancelFlags(): CancelFlags {
    if (this.#flags) return this.#flags
    this.#flags = {
      memory: this.memory,
      interruptPendingAt: this.addressOf('InterruptPending'),
      queryCancelPendingAt: this.addressOf('QueryCancelPending'),
    }
    return this.#flags
  }

  /** Where a variable of Postgres lies. */
  addressOf(variable: EngineVariable): number {
    const symbol = this.#exports[variable]
    assert(symbol instanceof WebAssembly.Global, `the module exports ${variable}`)
    return Number(symbol.value)
  }

  /** 32 bits of memory. */
  word(at: number): number {
    return new Int32Array(this.memory.buffer)[at >> 2] ?? 0
  }

  setWord(at: number, value: number): void {
    new Int32Array(this.memory.buffer)[at >> 2] = value
  }

  /** A function of Postgres, as wasm has it: 64-bit numbers are BigInts. */
  functionOf(name: EngineFunction): ExportedFunction {
    const symbol = this.#exports[name]
    assert(typeof symbol === 'function', `the module exports ${name}`)
    return symbol as ExportedFunction
  }

  /** An entry of the function table. */
  functionAt(index: number): ExportedFunction {
    const entry: unknown = this.#table.get(index)
    assert(typeof entry === 'function', `entry ${index} of the function table is a function`)
    return entry as ExportedFunction
  }

  get lent(): LentFunctions {
    assert(this.#lent, 'the module is instantiated')
    return this.#lent
  }

  /** What this run of Postgres has logged last, for its end. It is of the tenant in the slot. */
  get lastWords(): string | undefined {
    return this.#lastWords
  }

  /** Handles of libraries that Postgres has opened, as the JavaScript loader knows them. */
  get libraryHandles(): readonly number[] {
    return this.#libraries.handles
  }

  /** Sets the stage for a start of Postgres: nothing is left of a former run. */
  forgetRun(): void {
    this.#forgetRun()
    this.module.FS.chdir('/')
  }

  /**
   * Goes on with a run of Postgres whose memory has been put here: its self-pipe, its working
   * folder, and its library handles, which are addresses in that memory.
   */
  resumeRun(libraryHandles: readonly number[]): void {
    const { FS } = this.module
    this.#forgetRun()
    const pipe = this.#ensureSelfPipe()
    PIPE_DESCRIPTORS.forEach((fd, index) => (FS.streams[fd] = pipe[index]))
    if (FS.cwd() !== PGDATA) FS.chdir(PGDATA)
    this.#libraries.resume(libraryHandles)
  }

  /** Makes the memory at least so large. It never shrinks again. */
  growTo(bytes: number): void {
    if (bytes <= this.module.HEAPU8.length) return
    const grown = this.#imports['emscripten_resize_heap']?.(bytes)
    if (grown && this.module.HEAPU8.length >= bytes) return
    throw new PgnapError('SLOT_MEMORY_EXHAUSTED', 'a slot could not grow for its tenant', {
      hint: 'the machine is short of memory: lower --slots or --image-cache',
    })
  }

  /**
   * Gives Postgres's random numbers another seed, so that two runs that came from one image do not
   * produce the same. Also those of SQL's `random()`, if their address is given: a session that
   * goes on after a nap keeps its sequence (it may have called `setseed`), a copy must not.
   */
  renewRandom(random: Random, randomStateAt: number | undefined): void {
    const addresses = [this.addressOf('pg_global_prng_state')]
    if (randomStateAt !== undefined) addresses.push(randomStateAt)
    for (const address of addresses) {
      this.module.HEAPU8.set(random.bytes(RANDOM_STATE_BYTES), address)
    }
  }

  /** Forgets what a former run has left in JavaScript and outside PGDATA. */
  #forgetRun(): void {
    this.#lastWords = undefined
    this.#libraries.forget()
    for (const descriptor of PIPE_DESCRIPTORS) this.module.FS.streams[descriptor] = null
    this.#removeSharedMemoryFiles()
  }

  /**
   * Removes the POSIX shared memory files (1 MB) that each start of Postgres leaves in Emscripten's
   * own file system; they are mapped, which there means copied, so nothing reads them again.
   */
  #removeSharedMemoryFiles(): void {
    const { FS } = this.module
    const folder = (this.#sharedMemoryFolder ??= FS.lookupPath('/dev/shm').node as MemoryFolder)
    const operations = folder.node_ops as { unlink(parent: object, name: string): void }
    for (const name of Object.keys(folder.contents)) {
      const node = FS.lookupNode(folder, name)
      operations.unlink(folder, name)
      FS.destroyNode(node)
    }
  }

  async #instantiate(parts: CodeParts, placeholder: TenantFiles): Promise<void> {
    const log = (line: string): void => {
      // What follows such a line (the statement, Emscripten's own words) does not say why.
      if (SAYS_WHY.test(line) || !SAYS_WHY.test(this.#lastWords ?? '')) this.#lastWords = line
      parts.serverLog(line)
    }
    this.#module = await parts.factory({
      thisProgram: `${WASM_PREFIX}/bin/postgres`,
      arguments: [],
      noExitRuntime: true,
      wasmMemory: this.memory,
      WASM_PREFIX,
      PGLITE_ENV: {},
      pg_extensions: {},
      stdin: () => null,
      print: log,
      printErr: log,
      fillFunctionMap: parts.fillFunctionMap,
      // Made for this alone: a loader that knows only an ArrayBuffer gets one.
      getPreloadedPackage: () => parts.bundle.bytes.buffer as ArrayBuffer,
      instantiateWasm: (imports, done) => {
        const wasi = imports['wasi_snapshot_preview1'] as unknown as { clock_time_get: WasiClock }
        this.#adjustImports(imports['env'] ?? {}, parts)
        wasi.clock_time_get = interruptibleClock(
          wasi.clock_time_get,
          this.memory,
          () => this.#interruptPending,
        )
        const connect = this.#openDoors(parts)
        const instance = new WebAssembly.Instance(parts.module, imports)
        this.#exports = instance.exports
        connect()
        done(instance, parts.module)
        return {}
      },
      preRun: [
        (module) => {
          this.#module = module
          Object.assign(module.ENV, ENVIRONMENT)
          const placer = new FilePlacer(module.FS, parts.bundle.fill)
          // What unpacks the bundle calls it for each file, after this.
          module.FS_createDataFile = (path, _name, bytes) =>
            placer.place(path, bytes, BUNDLE_FILE_MODE)
          this.files.mount(module, placeholder)
        },
      ],
    })
    this.#module.FS.chmod('/home/postgres/.pgpass', 0o600)
  }

  /** Puts what is called from within WebAssembly in place; what connects it to the module. */
  #openDoors({ compileInvokes, pauseCode }: CodeParts): () => void {
    const env = this.#imports
    const takeFlagDown = (): void => {
      new Int32Array(this.memory.buffer)[this.cancelFlags.interruptPendingAt >> 2] = 0
    }
    const pausing = (this.#pausing = Pausing.open(pauseCode))
    const plainDoor = (): number => {
      takeFlagDown()
      return 0
    }
    env[DOOR_IMPORT] = (pausing?.door ?? plainDoor) as WasmImport
    env[MAPPING_DOOR_IMPORT] = ((at: number, _zero: number, bytes: number): number => {
      this.clearMapping(at, bytes)
      return at
    }) as WasmImport
    const names = Object.keys(env).filter((name) => name.startsWith('invoke_'))
    const invokes = compileInvokes && openInvokes(compileInvokes(names))
    if (invokes) for (const name of names) env[name] = invokes.functions[name] as WasmImport
    return () => {
      const { __indirect_function_table: table, __stack_pointer: stackPointer } = this.#exports
      pausing?.connect(this.#exports['PostgresMainLoopOnce'], takeFlagDown)
      const LongJump = longJumpOf(env)
      invokes?.connect({
        table: table as WebAssembly.Table,
        stackPointer: stackPointer as WebAssembly.Global,
        setThrew: this.#exports['setThrew'] as InvokeHost['setThrew'],
        isLongJump: (thrown) => thrown instanceof LongJump,
      })
    }
  }

  #adjustImports(env: Record<string, WasmImport>, { wall, memory }: CodeParts): void {
    this.#imports = env
    const replace: ReplaceImport = (name, make) => {
      const original = env[name]
      assert(original, `the module imports ${name}`)
      const replacement = make(original)
      if (original.sig !== undefined) replacement.sig = original.sig
      env[name] = replacement
    }
    if (!memory.shared) {
      // Emscripten then finds the memory as large as it wants it, and takes note of it.
      replace('emscripten_resize_heap', (original) => (bytes = 0) => {
        const isGrown = growInSteps(this.memory, bytes, this.mayGrow)
        if (isGrown === undefined) return 0
        return original(isGrown ? this.memory.buffer.byteLength : bytes)
      })
    }
    // A JavaScript timer would fire in whatever tenant is in the slot by then. Time limits are the
    // pool's business.
    replace('_setitimer_js', () => () => 0)
    // By that a backend tells itself to catch up with changes of the catalog, which it does before
    // its next command in any case. Its handler would take the number of a client, by which the
    // backend goes, for that of a stranger, and end it.
    replace('__call_sighandler', (original) => (handler = 0, signal = 0) => {
      return signal === SIGUSR1 ? 0 : original(handler, signal)
    })
    if (wall) {
      const monotonic = env['emscripten_get_now']
      assert(monotonic, 'the module imports a monotonic clock')
      replace('emscripten_date_now', (original) => () => wall.at(original(), monotonic()))
    }
    // Each start of Postgres makes a self-pipe; one pair per instance serves them all.
    replace(
      '__syscall_pipe2',
      (original) =>
        (pointer = 0, flags = 0) =>
          this.#pipe(original, pointer, flags),
    )
    replace(
      '__syscall_getdents64',
      (original) =>
        (descriptor = 0, buffer = 0, bytesMax = 0) =>
          this.#readFolder(descriptor, buffer, bytesMax) ?? original(descriptor, buffer, bytesMax),
    )
    this.#libraries.takeOver(replace)
  }

  /**
   * getdents64(2) for folders of PGDATA. Emscripten's own looks every name up and keeps a node for
   * it, which at each start of Postgres is a millisecond for a thousand names that nobody opens.
   */
  #readFolder(descriptor: number, buffer: number, bytesMax: number): number | undefined {
    const stream = this.module.FS.streams[descriptor]
    const entries = stream && this.files.entriesOf(stream)
    if (!entries) return undefined
    const first = Math.floor(stream.position / RECORD_BYTES)
    const end = Math.min(entries.length, first + Math.floor(bytesMax / RECORD_BYTES))
    stream.position = end * RECORD_BYTES
    return writeRecords(this.module.HEAPU8, buffer, entries, { first, end }) - buffer
  }

  /** pipe2(2): Postgres makes one pair at each start, and gets the same one each time. */
  #pipe(original: WasmImport, pointer: number, flags: number): number {
    const { FS } = this.module
    if (!this.#selfPipe) {
      const result = original(pointer, flags)
      if (result === 0) this.#selfPipe = PIPE_DESCRIPTORS.map((fd) => FS.streams[fd])
      return result
    }
    PIPE_DESCRIPTORS.forEach((fd, index) => (FS.streams[fd] = this.#selfPipe?.[index]))
    new Int32Array(this.module.HEAPU8.buffer).set(PIPE_DESCRIPTORS, pointer >> 2)
    return 0
  }

  /** The self-pipe, made now if Postgres has never started in this instance. */
  #ensureSelfPipe(): readonly (EmscriptenStream | null | undefined)[] {
    if (this.#selfPipe) return this.#selfPipe
    // The two numbers that pipe2 writes go to the end of memory, which is then as it was.
    const heap = this.module.HEAPU8
    const scratch = heap.length - 8
    const before = heap.slice(scratch)
    this.#imports['__syscall_pipe2']?.(scratch, 0)
    heap.set(before, scratch)
    assert(this.#selfPipe, 'a pipe can be made')
    return this.#selfPipe
  }

  get #interruptPending(): boolean {
    const address = this.#flags?.interruptPendingAt
    const heap = this.#module?.HEAPU8
    return address !== undefined && heap !== undefined && heap[address] !== 0
  }
}
