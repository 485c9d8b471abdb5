/**
 * The engine: everything that slots share, and the way to make one. One per thread; the compiled
 * module, the asset bytes and the stock bundle behind it are shared by all threads of the process.
 */
import { assert } from '../base/assert.ts'
import type { Fingerprint } from '../base/ids.ts'
import type { Clock } from '../base/clock.ts'
import { LIMITS } from '../base/limits.ts'
import type { Random } from '../base/random.ts'
import { Template } from '../store/template.ts'
import { TenantFiles } from '../store/tenant-files.ts'
import { DeltaBuffers } from './delta-buffers.ts'
import { type LaidOutBase, layOver } from './base-memory.ts'
import type { EmscriptenFactory } from './emscripten.ts'
import type { Engine } from './engine.ts'
import type { SlotAssets } from './engine-assets.ts'
import { type CodeParts, type CompileInvokes, Instance } from './instance.ts'
import { type CompileLibrary, LibraryCode } from './library-code.ts'
import { bindMemoryDelta, Scratch } from './memory-delta.ts'
import { FineWallClock } from './module-clock.ts'
import type { PauseCode } from './pausing.ts'
import { POSTGRES_MAJOR, START_PARAMETERS } from './recipe.ts'
import { type MayGrow, type SlotMemory, slotMemory } from './slot-memory.ts'
import type { ShareBase } from './touched-pages.ts'
import { wasmPages } from './wasm-module.ts'
import { WasmSlot } from './wasm-slot.ts'

/** What a slot can be begun with, before the assets are there. */
export interface InstanceOptions {
  /** PGlite's `pglite.js`. */
  readonly factory: EmscriptenFactory
  /** `pglite.wasm` with the limits of {@link slotMemory}, compiled. */
  readonly module: WebAssembly.Module
  /** `pglite.data`, alone in its buffer. */
  readonly bundle: CodeParts['bundle']
  readonly fillFunctionMap?: CodeParts['fillFunctionMap']
  readonly clock: Clock
  /** What `module` declares. Default: {@link slotMemory}. */
  readonly memory?: SlotMemory
  /** Ceiling of one slot's memory in bytes; beyond it a query gets SQLSTATE 53200. */
  readonly slotMemoryBytesMax?: number
  /** Bytes that one statement may dirty before they are committed in the middle of it. */
  readonly dirtyBytesMax?: number
  /** Lines that Postgres writes to its log (only FATAL and PANIC, see the recipe). */
  readonly serverLog?: (line: string) => void
  /** Absent where nothing can be compiled at run time. */
  readonly compileInvokes?: CompileInvokes
  /** {@link compilePausing}, if it is to be possible. */
  readonly pauseCode?: PauseCode
}

export interface WasmEngineOptions extends InstanceOptions {
  readonly assets: SlotAssets
  /** {@link memoryDeltaCode} for the same limits, compiled; absent where that is impossible. */
  readonly deltaCode?: WebAssembly.Module
  /** The base of `assets`, laid out; one per process. */
  readonly base: LaidOutBase
  /** Called when a tenant of this thread first uses the library. */
  readonly compileLibrary: CompileLibrary
  /** Begun with the same options: it becomes the first slot. */
  readonly begun?: Promise<Instance> | undefined
  readonly random: Random
  /** Heap beyond which a slot is not reused for another tenant, in bytes. */
  readonly slotRetireBytes?: number
  readonly answerBytesMax?: number
  /** Of {@link WasmEngine.spareBytes}. Default: as a server can afford. */
  readonly spareBytesMax?: number
  /** Of {@link WasmEngine.scratchBytes}. Default: as a server can afford. */
  readonly scratchBytesMax?: number
  /** Of use only with `deltaCode`. Default: each slot has a copy of `base`. */
  readonly shareBase?: ShareBase | undefined
  /** Compare the whole memory of a slot with the base whenever a tenant has left it. */
  readonly verifySwaps?: boolean
}

/** Of this thread, so that a tenant that moves to another slot does not see time go back. */
const wallClock = new FineWallClock()

/** Begins a slot. */
export function beginInstance({ clock, ...options }: InstanceOptions): Promise<Instance> {
  const parts: CodeParts = {
    factory: options.factory,
    module: options.module,
    bundle: options.bundle,
    memory: {
      ...(options.memory ?? slotMemory),
      maximumPages: wasmPages(options.slotMemoryBytesMax ?? LIMITS.slotMemoryBytesMax),
    },
    dirtyBytesMax: options.dirtyBytesMax ?? LIMITS.dirtyBytesMax,
    serverLog: options.serverLog ?? (() => {}),
    wall: wallClock,
    fillFunctionMap: options.fillFunctionMap,
    ...(options.compileInvokes ? { compileInvokes: options.compileInvokes } : {}),
    ...(options.pauseCode ? { pauseCode: options.pauseCode } : {}),
  }
  return Instance.begin(parts, TenantFiles.inMemory({ template: Template.empty(), clock }))
}

export class WasmEngine implements Engine {
  readonly fingerprint: Fingerprint
  readonly postgresMajor: number = POSTGRES_MAJOR
  readonly template: Template
  readonly #options: WasmEngineOptions
  readonly #scratch: Scratch
  readonly #buffers: DeltaBuffers
  readonly #libraryCode: LibraryCode
  #begun: Promise<Instance> | undefined

  constructor(options: WasmEngineOptions) {
    const { assets } = options
    this.fingerprint = assets.fingerprint
    this.template = assets.template
    this.#options = options
    this.#scratch = new Scratch(options.scratchBytesMax)
    this.#begun = options.begun
    const { libraryLayout: layout } = assets
    this.#libraryCode = new LibraryCode({ ...assets, layout, compile: options.compileLibrary })
    this.#buffers = new DeltaBuffers(options.spareBytesMax)
  }

  /** Memory of images that were used up, for those that come, in bytes. */
  get spareBytes(): number {
    return this.#buffers.keptBytes
  }

  /** Memory in which slots are compared with the base, in bytes. */
  get scratchBytes(): number {
    return this.#scratch.byteLength
  }

  /** Lets go of {@link spareBytes}. */
  shedSpares(): void {
    this.#buffers.shed()
  }

  async createSlot(mayGrow?: MayGrow): Promise<WasmSlot> {
    const { assets, base, deltaCode, random, shareBase } = this.#options
    const begun = this.#begun
    this.#begun = undefined
    const instance = await (begun ?? beginInstance(this.#options))
    instance.mayGrow = mayGrow
    instance.complete({ ...assets, libraryCode: this.#libraryCode })
    assert(
      instance.tableLength === assets.tableLength,
      `a function table of ${instance.tableLength}, not ${assets.tableLength} entries`,
    )
    const shared = deltaCode && shareBase?.(instance.memory)
    const delta = bindMemoryDelta({
      slot: instance.memory,
      base,
      ...(deltaCode ? { code: deltaCode } : {}),
      scratch: this.#scratch,
      buffers: this.#buffers,
      shared,
    })
    if (!shared) {
      // To look for what differs would touch every page of a fresh memory, most for nothing.
      delta.clear(assets.preMain.fullRuns)
      layOver(base, instance.memory)
    }
    const verifySwaps = this.#options.verifySwaps ?? false
    const wholeBytes = instance.memory.buffer.byteLength
    assert(!verifySwaps || delta.countDifferent(wholeBytes) === 0, 'a fresh slot equals the base')
    return new WasmSlot({
      instance,
      delta,
      assets,
      baseEndBytes: base.endBytes,
      random,
      startParameters: START_PARAMETERS,
      retireBytes: this.#options.slotRetireBytes ?? LIMITS.slotRetireBytes,
      answerBytesMax: this.#options.answerBytesMax ?? LIMITS.answerBytesMax,
      verifySwaps,
    })
  }
}
