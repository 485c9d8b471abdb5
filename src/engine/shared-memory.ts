/**
 * The memory that Postgres's processes would share. A start maps 14 MB for it, which C's `mmap`
 * fills with zeros first, and 4 of them are buffers for pages: nobody reads one before it was
 * filled, since in a server that runs they hold whatever was there before. In a slot that was the
 * base, whose buffers are mostly those that the start fills again with the same pages. So buffers
 * are left as they are: a start writes 4 MB less, and its tenant's image does not have to say that
 * they are empty.
 *
 * In place of `memset` the engine build puts an import into `mmap` (`mappingPatch`), here called
 * the *door*.
 *
 * Source: Postgres 18, sysv_shmem.c (CreateAnonymousSegment), buf_init.c; emscripten, mmap.c.
 */
import { assert } from '../base/assert.ts'
import type { Instance } from './instance.ts'
import { DELTA_PAGE_BYTES, type MemoryDelta } from './memory-delta.ts'
import { SHARED_BUFFERS_BYTES } from './recipe.ts'
import { CODE, unsigned } from './wasm-assembly.ts'
import { type BytePatch, onlyPlaceOf, type Place } from './wasm-module.ts'

/** An import that nobody needs: files have no other owner. Takes three numbers, as `memset`. */
export const MAPPING_DOOR_IMPORT = '__syscall_fchown32'

/** What was mapped in one go. */
export interface Mapping {
  readonly at: number
  readonly bytes: number
}

/** Where a start has its shared memory. */
export interface SharedMemory extends Mapping {
  /** Its buffers for pages, `SHARED_BUFFERS_BYTES`. */
  readonly buffersAt: number
}

/** What a fresh mapping is made of: zeros. */
export type ClearMapping = (at: number, bytes: number) => void

/**
 * Runs `start`, and clears what it maps. If that is the mapping that is expected, because settings
 * are the same, its buffers are left as they are.
 */
export function clearingMappings(
  { instance, delta }: { readonly instance: Instance; readonly delta: MemoryDelta },
  expected: SharedMemory | undefined,
  start: () => void,
): void {
  const clear = (from: number, to: number): void => {
    const { HEAPU8: heap } = instance.module
    const firstPage = Math.ceil(from / DELTA_PAGE_BYTES)
    const endPage = Math.floor(to / DELTA_PAGE_BYTES)
    if (firstPage >= endPage) return void heap.fill(0, from, to)
    heap.fill(0, from, firstPage * DELTA_PAGE_BYTES)
    delta.empty(firstPage, endPage)
    heap.fill(0, endPage * DELTA_PAGE_BYTES, to)
  }
  let isAsExpected = false
  const clearMapping: ClearMapping = (at, bytes) => {
    if (at !== expected?.at || bytes !== expected.bytes) return clear(at, at + bytes)
    isAsExpected = true
    clear(at, expected.buffersAt)
    clear(expected.buffersAt + SHARED_BUFFERS_BYTES, at + bytes)
  }
  clearingBy(instance, clearMapping, start)
  const buffersAt = instance.word(instance.addressOf('BufferBlocks'))
  assert(!isAsExpected || buffersAt === expected?.buffersAt, 'buffers are where they were left')
}

/** The largest of what `start` maps. */
export function largestMapping(instance: Instance, start: () => void): Mapping {
  let largest: Mapping | undefined
  const { clearMapping } = instance
  const noting: ClearMapping = (at, bytes) => {
    if (bytes > (largest?.bytes ?? 0)) largest = { at, bytes }
    clearMapping(at, bytes)
  }
  clearingBy(instance, noting, start)
  assert(largest, 'a start maps memory')
  return largest
}

function clearingBy(instance: Instance, clearMapping: ClearMapping, start: () => void): void {
  const before = instance.clearMapping
  instance.clearMapping = clearMapping
  try {
    start()
  } finally {
    instance.clearMapping = before
  }
}

/** A mapping with the buffers in it, which lie at `buffersAt`. */
export function sharedMemoryOf({ at, bytes }: Mapping, buffersAt: number): SharedMemory {
  const isInside = at <= buffersAt && buffersAt + SHARED_BUFFERS_BYTES <= at + bytes
  assert(isInside, 'buffers lie in the memory that is shared')
  return { at, bytes, buffersAt }
}

/**
 * Puts the door in the place of `memset(memory, 0, bytes)` in `mmap`.
 * @param memset index of that function
 */
export function mappingPatch(
  module: Uint8Array,
  body: Place,
  { memset, doorIndex }: { readonly memset: number; readonly doorIndex: number },
): BytePatch {
  const call = Uint8Array.of(CODE.call, ...unsigned(memset))
  const at = onlyPlaceOf(module, body, call)
  const door = unsigned(doorIndex)
  assert(door.length === call.length - 1, 'the index of the door is as long')
  return { at, bytes: Uint8Array.of(CODE.call, ...door) }
}
