/**
 * What all objects of an isolate share, in module scope: the engine, one slot, and the images of
 * the tenants that are not in it. Made when the first tenant is asked for something, synchronously
 * but for the slot (about 50 ms of processor time, most of it for unpacking).
 *
 * An isolate has 128 MB for everything; docs/memory.md accounts for them. What is unpacked here is
 * therefore kept only as far as slots need it: the base goes into its memory, and the large buffer
 * that all of it came from is let go.
 */
import { compiled } from './compiled-modules.ts'
import { assets, bundle, deltaCode, factory, module } from 'pgnap:engine'
import { brotliDecompressSync } from 'node:zlib'
import { LIMITS } from '../../base/limits.ts'
import { isFilled, wholeBytes } from '../../base/sparse-bytes.ts'
import { layOut, type LaidOutBase } from '../../engine/base-memory.ts'
import {
  type EngineAssets,
  parseVerifiedAssets,
  type SlotAssets,
} from '../../engine/engine-assets.ts'
import { type MemoryBudget, SlotShare } from '../../engine/slot-share.ts'
import { unsharedSlotMemory } from '../../engine/slot-memory.ts'
import { WasmEngine } from '../../engine/wasm-engine.ts'
import { Template } from '../../store/template.ts'
import type { IsolateFacts, IsolateMemory } from './isolate-facts.ts'
import { clientBytes } from './client-bytes.ts'
import { workerClock } from './clock.ts'
import { consoleLog } from './console-log.ts'
import { workerRandom } from './random.ts'

export interface Isolate {
  /** Names it: two that answer by turns can be told apart. */
  readonly id: string
  readonly madeMs: number
  readonly engine: WasmEngine
  readonly share: SlotShare
  /** Slots that belong to one object each: see `architectures/own-slots.ts`. */
  readonly ownShares: Set<SlotShare>
  /** Of stores that were made by an earlier build, at most `isolateTemplatesMax` of them. */
  readonly earlierTemplates: Map<string, EarlierTemplate>
  /** Bytes of what is in memory for as long as the isolate lives; see docs/memory.md. */
  readonly memory: IsolateMemory
}

export interface EarlierTemplate {
  readonly template: Template
  readonly bytes: number
}

let isolate: Isolate | undefined
let makingMs = 0

/** The one of this isolate, if any of its tenants has been asked for something. */
export function theIsolateIfAny(): Isolate | undefined {
  return isolate
}

/** The one of this isolate. */
export function theIsolate(): Isolate {
  if (isolate) return isolate
  const startMs = workerClock.monotonicMs()
  isolate = makeIsolate()
  makingMs = workerClock.monotonicMs() - startMs
  return isolate
}

/** How long it took to make it, told once: to whoever had to wait for it. */
export function takeMakingMs(): number {
  const ms = makingMs
  makingMs = 0
  return ms
}

/** How full it is, and what has happened in it. */
export function isolateFacts(isolate: Isolate): IsolateFacts {
  const { id, madeMs, engine, share, memory } = isolate
  const { slotBytes, heldBytes, imageCount, imageBytes, counters } = share
  const { spareBytes } = engine
  const ownSlotBytes = sumOf(isolate.ownShares, (own) => own.slotBytes + own.heldBytes)
  return {
    id,
    ageMs: workerClock.monotonicMs() - madeMs,
    accountedBytes: otherBytes(isolate) + slotBytes + heldBytes + ownSlotBytes + imageBytes,
    memory,
    earlierTemplateBytes: earlierTemplateBytes(isolate),
    slotBytes,
    heldBytes,
    clientBytes: clientBytes.bytes,
    ownSlotBytes,
    spareBytes,
    imageCount,
    imageBytes,
    counters: { ...counters },
  }
}

/** What is in memory beside slots, images and what is held for a tenant. */
function otherBytes(isolate: Isolate): number {
  const keptBytes = sumOf(Object.values(isolate.memory), (bytes) => bytes)
  const { spareBytes } = isolate.engine
  return keptBytes + earlierTemplateBytes(isolate) + spareBytes + clientBytes.bytes
}

function earlierTemplateBytes({ earlierTemplates }: Isolate): number {
  return sumOf(earlierTemplates.values(), ({ bytes }) => bytes)
}

function sumOf<Item>(items: Iterable<Item>, bytesOf: (item: Item) => number): number {
  let sum = 0
  for (const item of items) sum += bytesOf(item)
  return sum
}

function makeIsolate(): Isolate {
  const { base, slotAssets } = unpack()
  const engine = new WasmEngine({
    factory,
    module,
    deltaCode,
    bundle: wholeBytes(new Uint8Array(bundle)),
    memory: unsharedSlotMemory,
    base,
    assets: slotAssets,
    compileLibrary: compiled,
    clock: workerClock,
    random: workerRandom,
    slotMemoryBytesMax: LIMITS.isolateSlotMemoryBytesMax,
    slotRetireBytes: LIMITS.isolateSlotRetireBytes,
    dirtyBytesMax: LIMITS.isolateDirtyBytesMax,
    answerBytesMax: LIMITS.isolateAnswerBytesMax,
    spareBytesMax: LIMITS.isolateSpareBytesMax,
    scratchBytesMax: LIMITS.isolateScratchBytesMax,
    serverLog: (line) => consoleLog.debug('postgres', { line }),
  })
  const budget: MemoryBudget = {
    bytesMax: LIMITS.isolateBytesMax,
    otherBytes: () => otherBytes(made),
    shed: () => engine.shedSpares(),
  }
  const made: Isolate = {
    id: crypto.randomUUID(),
    madeMs: workerClock.monotonicMs(),
    engine,
    share: new SlotShare({ engine, imageBytesMax: LIMITS.isolateImageBytes, budget }),
    ownShares: new Set(),
    earlierTemplates: new Map(),
    memory: {
      bundle: bundle.byteLength,
      template: slotAssets.template.serialize().length,
      compressed: assets.byteLength,
      base: base.memory.buffer.byteLength,
      get scratch() {
        return engine.scratchBytes
      },
      preMain: slotAssets.preMain.delta.bytes.length,
      extensions: sumOf(slotAssets.overlay.values(), (bytes) => bytes.length),
    },
  }
  return made
}

/** The hashes of the assets were checked when the Worker was built. */
function unpack(): { readonly base: LaidOutBase; readonly slotAssets: SlotAssets } {
  const { buffer, byteOffset, length } = brotliDecompressSync(new Uint8Array(assets))
  // Of a Buffer a slice would be a view, and everything would stay for the sake of a part.
  const whole = parseVerifiedAssets(wholeBytes(new Uint8Array(buffer, byteOffset, length)))
  const { runs, pages } = whole.base
  // What is laid out keeps its runs: as a view they would keep all that was unpacked.
  const base = layOut({ runs: runs.slice(), pages }, unsharedSlotMemory)
  return { base, slotAssets: apart(whole) }
}

/** In memory of their own, so that what they were parsed from can be collected. */
function apart(whole: EngineAssets): SlotAssets {
  const { template, preMain, overlay } = whole
  const { delta } = preMain
  return {
    fingerprint: whole.fingerprint,
    memoryId: whole.memoryId,
    idle: whole.idle,
    tableLength: whole.tableLength,
    randomStateAt: whole.randomStateAt,
    sessionAnchors: whole.sessionAnchors,
    libraryExports: whole.libraryExports,
    libraryLayout: whole.libraryLayout,
    template: Template.parse(template.serialize().slice(), { checked: true }),
    preMain: { ...preMain, delta: { ...delta, bytes: delta.bytes.slice() } },
    overlay: new Map([...overlay].map(([path, bytes]) => [path, bytes.slice()])),
    fill: isFilled,
  }
}
