/**
 * What distinguishes the memory of a slot from a base memory, as bytes that can be put away and
 * laid on again. Everything that a slot ever holds is the base (an idle Postgres) plus such a
 * delta, so leaving a tenant means undoing its delta and entering one means applying another.
 *
 * Only lines of 64 bytes that differ are kept: a small tenant touches some 400 pages but changes a
 * fifth of their bytes. A record is a page number (u32), zero (u32), one bit per line (u64), then
 * the lines; records ascend by page. Beyond its end the base counts as zeros.
 *
 * The work is done by `memory-delta.wat`, which needs WebAssembly with several memories and SIMD;
 * where those are missing, the same in JavaScript is four times as slow and nothing else.
 */
import { assert } from '../base/assert.ts'
import { concatBytes } from '../base/bytes.ts'
import { DeltaBuffers } from './delta-buffers.ts'
import { eachRun, type PageRuns, runsWithin } from './page-runs.ts'
import { type SharedPages, TouchedPages } from './touched-pages.ts'
import { wasmPages } from './wasm-module.ts'

/** The page size of the machine, so that untouched memory stays untouched. */
export const DELTA_PAGE_BYTES = 4096
const LINE_BYTES = 64
const RECORD_HEAD_BYTES = 16
const RECORD_BYTES_MAX: number = RECORD_HEAD_BYTES + DELTA_PAGE_BYTES
/** A small tenant's delta fits. */
export const SCRATCH_BYTES_MIN = 2_097_152
/** Beyond, a delta is packed in pieces, each of which is copied twice. */
export const SCRATCH_BYTES_MAX = 33_554_432

/** A memory that others are compared with. It is never written after it was made. */
export interface BaseMemory {
  readonly memory: WebAssembly.Memory
  /** Beyond, the base counts as zeros. A multiple of {@link DELTA_PAGE_BYTES}. */
  readonly endBytes: number
  /** Pages that hold anything. Default: that is not known. */
  readonly runs?: PageRuns
}

export interface PackedDelta {
  readonly bytes: Uint8Array
  /** End of the last page with a record, in bytes: what a memory must reach to take it. */
  readonly endBytes: number
}

/** Compares one slot's memory with a base. All ends are in bytes and rounded up to whole pages. */
export interface MemoryDelta {
  /** What differs below `endBytes`. */
  capture(endBytes: number): PackedDelta
  /** The same, and takes it back to the base. */
  take(endBytes: number): PackedDelta
  /** Takes the memory of a delta back that nobody will use again. */
  recycle(delta: PackedDelta): void
  /** Writes a delta over a memory that equals the base. */
  apply(delta: PackedDelta): void
  /**
   * The memory equals the base now.
   * @param left what was taken out of it, if that is known
   */
  settle(left?: PackedDelta): void
  /** Empties pages. */
  clear(runs: PageRuns): void
  /** The same of pages from `first` below `end`: what is known to be empty is not written. */
  empty(first: number, end: number): void
  /** Makes every page below `endBytes` equal to the base; returns how many were not. */
  revert(endBytes: number): number
  /** Pages below `endBytes` that differ from the base. Looks at all of them. */
  countDifferent(endBytes: number): number
}

export interface DeltaParts {
  readonly slot: WebAssembly.Memory
  readonly base: BaseMemory
  /** Compiled {@link memoryDeltaCode}; absent where it cannot be compiled. */
  readonly code?: WebAssembly.Module
  /** Only for `code`. */
  readonly scratch: Scratch
  /** Where deltas get their memory. Default: new. */
  readonly buffers?: DeltaBuffers
  /** Of the slot, if it shows the base's pages. Of use only with `code`. */
  readonly shared?: SharedPages | undefined
}

/** Where deltas are packed and unpacked: one per thread, which grows with the deltas that come. */
export class Scratch {
  readonly memory: WebAssembly.Memory
  readonly #bytesMax: number

  /** @param bytesMax at most so far. Default: as a server can afford */
  constructor(bytesMax: number = SCRATCH_BYTES_MAX) {
    const maximum = wasmPages(bytesMax)
    this.memory = new WebAssembly.Memory({ initial: wasmPages(SCRATCH_BYTES_MIN), maximum })
    this.#bytesMax = bytesMax
  }

  get byteLength(): number {
    return this.memory.buffer.byteLength
  }

  /** To twice its size, if it may be so large. False: it is as large as it can be. */
  grow(): boolean {
    const bytes = Math.min(this.byteLength, this.#bytesMax - this.byteLength)
    if (bytes <= 0) return false
    try {
      this.memory.grow(wasmPages(bytes))
      return true
    } catch {
      // There is no memory.
      return false
    }
  }
}

/** Binds a slot's memory to a base. */
export function bindMemoryDelta(parts: DeltaParts): MemoryDelta {
  return parts.code ? new WasmMemoryDelta(parts, parts.code) : new PortableMemoryDelta(parts)
}

interface Exports {
  pack(page: number, to: number, baseEnd: number, out: number, limit: number): bigint
  apply(at: number, end: number): void
  undo(at: number, end: number, baseEnd: number): void
  clear(page: number, to: number): void
  revert(page: number, to: number, baseEnd: number, mend: number): number
}

class WasmMemoryDelta implements MemoryDelta {
  readonly #exports: Exports
  readonly #slot: WebAssembly.Memory
  readonly #scratch: Scratch
  readonly #buffers: DeltaBuffers
  readonly #baseEnd: number
  readonly #baseRuns: PageRuns | undefined
  readonly #touched: TouchedPages | undefined

  constructor({ slot, base, scratch, buffers, shared }: DeltaParts, code: WebAssembly.Module) {
    const memories = { memory: slot, base: base.memory, scratch: scratch.memory }
    const { exports } = new WebAssembly.Instance(code, { env: memories })
    this.#exports = exports as unknown as Exports
    this.#slot = slot
    this.#scratch = scratch
    this.#buffers = buffers ?? new DeltaBuffers()
    this.#baseEnd = pages(base.endBytes)
    this.#baseRuns = base.runs
    this.#touched = shared && new TouchedPages(shared)
  }

  capture(endBytes: number): PackedDelta {
    return this.#pack(endBytes, () => {})
  }

  take(endBytes: number): PackedDelta {
    return this.#pack(endBytes, (end) => this.#exports.undo(0, end, this.#baseEnd))
  }

  /** @param packed told how far scratch is filled, before it is emptied */
  #pack(endBytes: number, packed: (end: number) => void): PackedDelta {
    const pieces: Uint8Array[] = []
    let end = 0
    for (const [page, count] of eachRun(this.#suspects(endBytes))) {
      const to = page + count
      for (let next = page; ;) {
        const limit = this.#scratch.byteLength
        const done = this.#exports.pack(next, to, this.#baseEnd, end, limit)
        next = Number(done & 0xffff_ffffn)
        end = Number(done >> 32n)
        if (next >= to) break
        // As large as it may be: then it is done in pieces.
        if (this.#scratch.grow()) continue
        packed(end)
        pieces.push(this.#scratched(end).slice())
        end = 0
      }
    }
    packed(end)
    const bytes = this.#buffers.copy(...pieces, this.#scratched(end))
    let endPage = 0
    for (const page of pagesOf(bytes)) endPage = page + 1
    return { bytes, endBytes: endPage * DELTA_PAGE_BYTES }
  }

  settle(left?: PackedDelta): void {
    this.#touched?.settle(this.#endPage, left ? pagesOf(left.bytes) : [])
  }

  recycle({ bytes }: PackedDelta): void {
    this.#buffers.give(bytes)
  }

  apply({ bytes }: PackedDelta): void {
    this.#eachPiece(bytes, (end) => this.#exports.apply(0, end))
  }

  clear(runs: PageRuns): void {
    // `fill` of a shared array is five times as slow.
    for (const [page, count] of eachRun(runs)) this.#exports.clear(page, page + count)
  }

  empty(first: number, end: number): void {
    const full = this.#baseRuns
    if (!this.#touched || !full) return this.clear([first, end - first])
    // All others are pages of the base, and that has nothing in them.
    this.clear(runsWithin(full, first, end))
    this.clear(this.#touched.suspectsFrom(first, end))
  }

  revert(endBytes: number): number {
    let count = 0
    for (const [page, pageCount] of eachRun(this.#suspects(endBytes))) {
      count += this.#exports.revert(page, page + pageCount, this.#baseEnd, 1)
    }
    return count
  }

  countDifferent(endBytes: number): number {
    return this.#exports.revert(0, pages(endBytes), this.#baseEnd, 0)
  }

  /** Where it is known which pages a slot has made its own, all of them: wherever they are. */
  #suspects(endBytes: number): PageRuns {
    return this.#touched?.suspects(this.#endPage) ?? [0, pages(endBytes)]
  }

  /** Where the memory ends now. */
  get #endPage(): number {
    return pages(this.#slot.buffer.byteLength)
  }

  #scratched(end: number): Uint8Array {
    return new Uint8Array(this.#scratch.memory.buffer, 0, end)
  }

  #eachPiece(bytes: Uint8Array, use: (end: number) => void): void {
    const scratch = new Uint8Array(this.#scratch.memory.buffer)
    for (let from = 0; from < bytes.length;) {
      const to = wholeRecords(bytes, from, scratch.length)
      scratch.set(bytes.subarray(from, to))
      use(to - from)
      from = to
    }
  }
}

class PortableMemoryDelta implements MemoryDelta {
  readonly #slot: WebAssembly.Memory
  readonly #base: Uint8Array

  constructor({ slot, base }: DeltaParts) {
    this.#slot = slot
    this.#base = new Uint8Array(base.memory.buffer, 0, base.endBytes)
  }

  capture(endBytes: number): PackedDelta {
    const heap = this.#heap
    const records: Uint8Array[] = []
    let endPage = 0
    for (let page = 0; page < pages(endBytes); page++) {
      const record = this.#record(heap, page)
      if (!record) continue
      records.push(record)
      endPage = page + 1
    }
    return { bytes: concatBytes(records), endBytes: endPage * DELTA_PAGE_BYTES }
  }

  take(endBytes: number): PackedDelta {
    const delta = this.capture(endBytes)
    const heap = this.#heap
    for (const { at } of linesOf(delta.bytes)) this.#mend(heap, at, LINE_BYTES)
    return delta
  }

  recycle(): void {
    // The collector has it.
  }

  settle(): void {
    // All of it is looked at each time.
  }

  apply({ bytes }: PackedDelta): void {
    const heap = this.#heap
    for (const { at, from } of linesOf(bytes)) {
      heap.set(bytes.subarray(from, from + LINE_BYTES), at)
    }
  }

  clear(runs: PageRuns): void {
    const heap = this.#heap
    for (const [page, count] of eachRun(runs)) {
      heap.fill(0, page * DELTA_PAGE_BYTES, (page + count) * DELTA_PAGE_BYTES)
    }
  }

  empty(first: number, end: number): void {
    this.clear([first, end - first])
  }

  revert(endBytes: number): number {
    return this.#walk(endBytes, true)
  }

  countDifferent(endBytes: number): number {
    return this.#walk(endBytes, false)
  }

  /** A memory that has grown has another buffer. */
  get #heap(): Uint8Array {
    return new Uint8Array(this.#slot.buffer)
  }

  #walk(endBytes: number, mend: boolean): number {
    const heap = this.#heap
    let count = 0
    for (let page = 0; page < pages(endBytes); page++) {
      const at = page * DELTA_PAGE_BYTES
      if (!this.#differs(heap, at, DELTA_PAGE_BYTES)) continue
      count++
      if (mend) this.#mend(heap, at, DELTA_PAGE_BYTES)
    }
    return count
  }

  #record(heap: Uint8Array, page: number): Uint8Array | undefined {
    const start = page * DELTA_PAGE_BYTES
    if (!this.#differs(heap, start, DELTA_PAGE_BYTES)) return undefined
    const record = new Uint8Array(RECORD_BYTES_MAX)
    let bits = 0n
    let end = RECORD_HEAD_BYTES
    for (let at = start; at < start + DELTA_PAGE_BYTES; at += LINE_BYTES) {
      if (!this.#differs(heap, at, LINE_BYTES)) continue
      bits |= 1n << BigInt((at - start) / LINE_BYTES)
      record.set(heap.subarray(at, at + LINE_BYTES), end)
      end += LINE_BYTES
    }
    const view = new DataView(record.buffer)
    view.setUint32(0, page, true)
    view.setBigUint64(8, bits, true)
    return record.subarray(0, end)
  }

  #differs(heap: Uint8Array, at: number, length: number): boolean {
    const inBase = at < this.#base.length
    const slot = new Int32Array(heap.buffer, at, length / 4)
    const base = inBase
      ? new Int32Array(this.#base.buffer, this.#base.byteOffset + at, length / 4)
      : undefined
    for (let word = 0; word < slot.length; word++) {
      if (slot[word] !== (base ? base[word] : 0)) return true
    }
    return false
  }

  #mend(heap: Uint8Array, at: number, length: number): void {
    if (at < this.#base.length) heap.set(this.#base.subarray(at, at + length), at)
    else heap.fill(0, at, at + length)
  }
}

function pages(bytes: number): number {
  return Math.ceil(bytes / DELTA_PAGE_BYTES)
}

/** Where each line of a packed delta belongs in memory (`at`) and lies in `bytes` (`from`). */
function* linesOf(bytes: Uint8Array): Generator<{ at: number; from: number }> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let record = 0; record < bytes.length; record += recordBytes(view, record)) {
    const page = view.getUint32(record, true)
    let bits = view.getBigUint64(record + 8, true)
    let from = record + RECORD_HEAD_BYTES
    for (let line = 0; bits !== 0n; line++, bits >>= 1n) {
      if ((bits & 1n) === 0n) continue
      yield { at: page * DELTA_PAGE_BYTES + line * LINE_BYTES, from }
      from += LINE_BYTES
    }
  }
}

function recordBytes(view: DataView, at: number): number {
  const count = bitCount(view.getUint32(at + 8, true)) + bitCount(view.getUint32(at + 12, true))
  assert(count > 0, 'a record has lines')
  return RECORD_HEAD_BYTES + count * LINE_BYTES
}

/** How many bits of a 32-bit word are set: pairs, nibbles and bytes are summed side by side. */
function bitCount(word: number): number {
  const pairs = word - ((word >>> 1) & 0x5555_5555)
  const nibbles = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333)
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24
}

/** End of the last record that fits whole into `bytesMax` from `from` on. */
function wholeRecords(bytes: Uint8Array, from: number, bytesMax: number): number {
  if (bytes.length - from <= bytesMax) return bytes.length
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let to = from
  for (;;) {
    const next = to + recordBytes(view, to)
    if (next - from > bytesMax) return to
    to = next
  }
}

/** The pages of the records of a packed delta. */
function* pagesOf(bytes: Uint8Array): Generator<number> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = 0; at < bytes.length; at += recordBytes(view, at)) yield view.getUint32(at, true)
}
