/**
 * The linear memory of a slot as data. Today there is one such image, the *pre-main image*:
 * Postgres instantiated, its side modules loaded, main not yet called. Putting it back into a slot
 * that has run any tenant makes the slot as good as new in about 2 ms, and Postgres can be started
 * again.
 *
 * An image is only valid for the exact build, library list and library order it was made with. The
 * asset file that carries it is bound to them by the fingerprint.
 */
import { assert } from '../base/assert.ts'
import { trimmedLength } from '../base/bytes.ts'

/**
 * Granularity of an image: the page size of the machine, so that untouched memory stays untouched.
 */
export const IMAGE_PAGE_BYTES = 4096

export interface MemoryImage {
  /**
   * Runs of pages that are not all zero: first page, number of pages, first page, ... ascending.
   */
  readonly runs: Uint32Array
  /** The contents of the runs, one after the other. */
  readonly pages: Uint8Array
  /** Value of `__stack_pointer`. */
  readonly stackPointer: number
  /** Entries of the function table. */
  readonly tableLength: number
  /** End of the heap (sbrk) when the image was taken, in bytes. */
  readonly heapEnd: number
}

/** Copies the pages below `heapEnd` that hold anything but zeros. */
export function captureMemory(
  heap: Uint8Array,
  facts: Pick<MemoryImage, 'stackPointer' | 'tableLength' | 'heapEnd'>,
): MemoryImage {
  const pageCount = Math.ceil(facts.heapEnd / IMAGE_PAGE_BYTES)
  const runs: number[] = []
  const pages: Uint8Array[] = []
  let open = false
  for (let page = 0; page < pageCount; page++) {
    const bytes = heap.subarray(page * IMAGE_PAGE_BYTES, (page + 1) * IMAGE_PAGE_BYTES)
    const empty = trimmedLength(bytes) === 0
    if (!empty) {
      if (open) runs[runs.length - 1] = (runs.at(-1) ?? 0) + 1
      else runs.push(page, 1)
      pages.push(bytes)
    }
    open = !empty
  }
  const contents = new Uint8Array(pages.length * IMAGE_PAGE_BYTES)
  pages.forEach((bytes, index) => contents.set(bytes, index * IMAGE_PAGE_BYTES))
  return { ...facts, runs: Uint32Array.from(runs), pages: contents }
}

/**
 * Makes a heap equal to the image: its runs are copied, everything between and after them, up to
 * `dirtyEnd`, is zeroed by `clear`. Memory from `dirtyEnd` on must be zero already.
 */
export function restoreMemory(
  heap: Uint8Array,
  image: MemoryImage,
  dirtyEnd: number,
  clear: (fromBytes: number, toBytes: number) => void,
): void {
  assert(dirtyEnd <= heap.length, 'the dirty part of a heap is inside it')
  let clearFrom = 0
  let from = 0
  for (let index = 0; index < image.runs.length; index += 2) {
    const start = (image.runs[index] ?? 0) * IMAGE_PAGE_BYTES
    const length = (image.runs[index + 1] ?? 0) * IMAGE_PAGE_BYTES
    if (start > clearFrom) clear(clearFrom, start)
    heap.set(image.pages.subarray(from, from + length), start)
    from += length
    clearFrom = start + length
  }
  const end = Math.ceil(dirtyEnd / IMAGE_PAGE_BYTES) * IMAGE_PAGE_BYTES
  if (end > clearFrom) clear(clearFrom, end)
}
