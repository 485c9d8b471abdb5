/**
 * The base that all slots of a process share: the memory of an idle Postgres, started on the
 * template with its catalogs read. As an asset it is the runs of pages that are not all zero; in a
 * process it is one memory that every thread compares with and nobody writes.
 *
 * A base is only valid for the exact build, library list and library order it was made with. The
 * asset file that carries it is bound to them by the fingerprint.
 */
import { trimmedLength } from '../base/bytes.ts'
import { copyPieces, type SparseBytes } from '../base/sparse-bytes.ts'
import { type BaseMemory, DELTA_PAGE_BYTES } from './memory-delta.ts'
import { addPage, eachRun, endOfRuns } from './page-runs.ts'
import { type MemoryLimits, WASM_PAGE_BYTES } from './wasm-module.ts'

export interface BaseImage {
  /** As `PageRuns`; pages as in memory-delta.ts. */
  readonly runs: Uint32Array
  /** The contents of the runs, one after the other. */
  readonly pages: Uint8Array
}

/** A base in a memory of its own, with the knowledge of where it holds anything. */
export interface LaidOutBase extends BaseMemory {
  readonly runs: BaseImage['runs']
}

/** The pages below `endBytes` that hold anything but zeros. */
export function imageOf(heap: Uint8Array, endBytes: number): BaseImage {
  const pageCount = Math.ceil(endBytes / DELTA_PAGE_BYTES)
  const runs: number[] = []
  const pages: Uint8Array[] = []
  for (let page = 0; page < pageCount; page++) {
    const bytes = heap.subarray(page * DELTA_PAGE_BYTES, (page + 1) * DELTA_PAGE_BYTES)
    if (trimmedLength(bytes) === 0) continue
    addPage(runs, page)
    pages.push(bytes)
  }
  const contents = new Uint8Array(pages.length * DELTA_PAGE_BYTES)
  pages.forEach((bytes, index) => contents.set(bytes, index * DELTA_PAGE_BYTES))
  return { runs: Uint32Array.from(runs), pages: contents }
}

/**
 * Lays the image out in a memory of its own, of the kind that slots have.
 * @param copy of what the pages are part of. Default: they are in memory
 */
export function layOut(
  image: BaseImage,
  limits: MemoryLimits,
  copy: SparseBytes['copy'] = copyPieces,
): LaidOutBase {
  const base = reserveBase(image, limits)
  const bytes = new Uint8Array(base.memory.buffer)
  const places = [...eachPlace(base.runs)]
  copy(
    image.pages,
    places.map(({ startBytes, length }) => bytes.subarray(startBytes, startBytes + length)),
  )
  return base
}

/** A memory for the base, still empty. */
export function reserveBase(
  { runs }: BaseImage,
  { maximumPages, shared }: MemoryLimits,
): LaidOutBase {
  const endBytes = endOfRuns(runs) * DELTA_PAGE_BYTES
  const initial = Math.ceil(endBytes / WASM_PAGE_BYTES)
  const memory = new WebAssembly.Memory({ initial, maximum: maximumPages, shared })
  return { memory, endBytes, runs }
}

/**
 * Copies what the base holds into a memory that reaches as far. Pages that the base leaves empty
 * are not even looked at: in a fresh memory each would cost a page fault, of which there are some
 * four thousand.
 */
export function layOver(base: LaidOutBase, memory: WebAssembly.Memory): void {
  const source = new Uint8Array(base.memory.buffer)
  const target = new Uint8Array(memory.buffer)
  for (const { startBytes, length } of eachPlace(base.runs)) {
    target.set(source.subarray(startBytes, startBytes + length), startBytes)
  }
}

/** The pages of the base that are empty in `memory`, as runs. It reaches as far as the base. */
export function emptyRuns(memory: WebAssembly.Memory, base: LaidOutBase): readonly number[] {
  const heap = new Uint8Array(memory.buffer)
  const runs: number[] = []
  for (const { startBytes, length } of eachPlace(base.runs)) {
    for (let at = startBytes; at < startBytes + length; at += DELTA_PAGE_BYTES) {
      if (trimmedLength(heap.subarray(at, at + DELTA_PAGE_BYTES)) > 0) continue
      addPage(runs, at / DELTA_PAGE_BYTES)
    }
  }
  return runs
}

function* eachPlace(runs: Uint32Array): Generator<{ startBytes: number; length: number }> {
  for (const [page, count] of eachRun(runs)) {
    yield { startBytes: page * DELTA_PAGE_BYTES, length: count * DELTA_PAGE_BYTES }
  }
}
