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
import { type LaidOutBase, layBeyond } from './base-memory.ts'
import type { EmscriptenFactory } from './emscripten.ts'
import type { Engine } from './engine.ts'
import type { SlotAssets } from './engine-assets.ts'
import { type CodeParts, Instance, wasmPages } from './instance.ts'
import { bindMemoryDelta, DELTA_PAGE_BYTES, newScratch } from './memory-delta.ts'
import { FineWallClock } from './module-clock.ts'
import { POSTGRES_MAJOR, SLOT_MEMORY_BYTES_MIN, START_PARAMETERS } from './recipe.ts'
import { WasmSlot } from './wasm-slot.ts'

/** What a slot can be begun with, before the assets are there. */
export interface InstanceOptions {
  /** PGlite's `pglite.js`. */
  readonly factory: EmscriptenFactory
  /** `pglite.wasm` with the limits of {@link slotMemory}, compiled. */
  readonly module: WebAssembly.Module
  /** `pglite.data`. */
  readonly bundle: ArrayBuffer
  readonly clock: Clock
  /** What `module` declares. Default: {@link slotMemory}. */
  readonly memory?: SlotMemory
  /** Ceiling of one slot's memory in bytes; beyond it a query gets SQLSTATE 53200. */
  readonly slotMemoryBytesMax?: number
  /** Bytes that one statement may dirty before they are committed in the middle of it. */
  readonly dirtyBytesMax?: number
  /** Lines that Postgres writes to its log (only FATAL and PANIC, see the recipe). */
  readonly serverLog?: (line: string) => void
}

export interface WasmEngineOptions extends InstanceOptions {
  readonly assets: SlotAssets
  /** {@link memoryDeltaCode} for the same limits, compiled; absent where that is impossible. */
  readonly deltaCode?: WebAssembly.Module
  /** The base of `assets`, laid out; one per process. */
  readonly base: LaidOutBase
  /** Begun with the same options: it becomes the first slot. */
  readonly begun?: Promise<Instance> | undefined
  readonly random: Random
  /** Heap beyond which a slot is not reused for another tenant, in bytes. */
  readonly slotRetireBytes?: number
  readonly answerBytesMax?: number
  /** Of {@link WasmEngine.spareBytes}. Default: as a server can afford. */
  readonly spareBytesMax?: number
  /** Compare the whole memory of a slot with the base whenever a tenant has left it. */
  readonly verifySwaps?: boolean
}

/** Size and kind of the memory that a compiled module declares and that each slot gets. */
export type SlotMemory = CodeParts['memory']

/** With a memory that other threads can reach into, to interrupt what runs. */
export const slotMemory: SlotMemory = {
  minimumPages: wasmPages(SLOT_MEMORY_BYTES_MIN),
  // What the module itself allows; the ceiling of one slot is set on its memory, not on the module.
  maximumPages: 32_768,
  shared: true,
}

/** The same where there are no threads. Images of the two kinds of slot are not interchangeable. */
export const unsharedSlotMemory: SlotMemory = { ...slotMemory, shared: false }

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
  }
  return Instance.begin(parts, TenantFiles.inMemory({ template: Template.empty(), clock }))
}

export class WasmEngine implements Engine {
  readonly fingerprint: Fingerprint
  readonly postgresMajor: number = POSTGRES_MAJOR
  readonly template: Template
  readonly #options: WasmEngineOptions
  readonly #scratch: WebAssembly.Memory
  readonly #buffers: DeltaBuffers
  #begun: Promise<Instance> | undefined

  constructor(options: WasmEngineOptions) {
    const { assets } = options
    this.fingerprint = assets.fingerprint
    this.template = assets.template
    this.#options = options
    this.#scratch = newScratch((options.memory ?? slotMemory).shared)
    this.#begun = options.begun
    this.#buffers = new DeltaBuffers(options.spareBytesMax)
  }

  /** Memory of images that were used up, for those that come, in bytes. */
  get spareBytes(): number {
    return this.#buffers.keptBytes
  }

  async createSlot(): Promise<WasmSlot> {
    const { assets, base, deltaCode, random } = this.#options
    const begun = this.#begun
    this.#begun = undefined
    const instance = await (begun ?? beginInstance(this.#options))
    instance.complete(assets)
    assert(
      instance.tableLength === assets.tableLength,
      `a function table of ${instance.tableLength}, not ${assets.tableLength} entries`,
    )
    const delta = bindMemoryDelta({
      slot: instance.memory,
      base,
      ...(deltaCode ? { code: deltaCode } : {}),
      scratch: this.#scratch,
      buffers: this.#buffers,
    })
    // A fresh memory is zero beyond its heap.
    const usedBytes = Math.ceil(instance.heapEnd / DELTA_PAGE_BYTES) * DELTA_PAGE_BYTES
    delta.revert(usedBytes)
    layBeyond(base, usedBytes, instance.memory)
    return new WasmSlot({
      instance,
      delta,
      assets,
      baseEndBytes: base.endBytes,
      random,
      startParameters: START_PARAMETERS,
      retireBytes: this.#options.slotRetireBytes ?? LIMITS.slotRetireBytes,
      answerBytesMax: this.#options.answerBytesMax ?? LIMITS.answerBytesMax,
      verifySwaps: this.#options.verifySwaps ?? false,
    })
  }
}
