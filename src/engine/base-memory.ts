/**
 * The base that all slots of a process share: the memory of an idle Postgres, started on the
 * template with its catalogs read. As an asset it is the runs of pages that are not all zero; in a
 * process it is one memory that every thread compares with and nobody writes.
 *
 * A base is only valid for the exact build, library list and library order it was made with. The
 * asset file that carries it is bound to them by the fingerprint.
 */
import { trimmedLength } from '../base/bytes.ts'
import { type BaseMemory, DELTA_PAGE_BYTES } from './memory-delta.ts'
import { type MemoryLimits, WASM_PAGE_BYTES } from './wasm-module.ts'

export interface BaseImage {
  /** First page, number of pages, first page, ... ascending; pages as in memory-delta.ts. */
  readonly runs: Uint32Array
  /** The contents of the runs, one after the other. */
  readonly pages: Uint8Array
}

/** The pages below `endBytes` that hold anything but zeros. */
export function imageOf(heap: Uint8Array, endBytes: number): BaseImage {
  const pageCount = Math.ceil(endBytes / DELTA_PAGE_BYTES)
  const runs: number[] = []
  const pages: Uint8Array[] = []
  let open = false
  for (let page = 0; page < pageCount; page++) {
    const bytes = heap.subarray(page * DELTA_PAGE_BYTES, (page + 1) * DELTA_PAGE_BYTES)
    const empty = trimmedLength(bytes) === 0
    if (!empty) {
      if (open) runs[runs.length - 1] = (runs.at(-1) ?? 0) + 1
      else runs.push(page, 1)
      pages.push(bytes)
    }
    open = !empty
  }
  const contents = new Uint8Array(pages.length * DELTA_PAGE_BYTES)
  pages.forEach((bytes, index) => contents.set(bytes, index * DELTA_PAGE_BYTES))
  return { runs: Uint32Array.from(runs), pages: contents }
}

/** Lays the image out in a memory of its own, of the kind that slots have. */
export function layOut(
  { runs, pages }: BaseImage,
  { maximumPages, shared }: MemoryLimits,
): BaseMemory {
  const endPage = (runs.at(-2) ?? 0) + (runs.at(-1) ?? 0)
  const endBytes = endPage * DELTA_PAGE_BYTES
  const initial = Math.ceil(endBytes / WASM_PAGE_BYTES)
  const memory = new WebAssembly.Memory({ initial, maximum: maximumPages, shared })
  const bytes = new Uint8Array(memory.buffer)
  let from = 0
  for (let index = 0; index < runs.length; index += 2) {
    const length = (runs[index + 1] ?? 0) * DELTA_PAGE_BYTES
    bytes.set(pages.subarray(from, from + length), (runs[index] ?? 0) * DELTA_PAGE_BYTES)
    from += length
  }
  return { memory, endBytes }
}
