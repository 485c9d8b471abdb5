/**
 * Keeps the base in a file of memory pages, so that slots of all threads can show its pages until
 * they write to them (`shared-pages.ts`). Sealed, it can be changed by nobody.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import {
  type BaseImage,
  type LaidOutBase,
  layOut,
  reserveBase,
} from '../../../engine/base-memory.ts'
import { DELTA_PAGE_BYTES } from '../../../engine/memory-delta.ts'
import { eachRun, type PageRuns } from '../../../engine/page-runs.ts'
import { slotMemory } from '../../../engine/slot-memory.ts'
import type { SparseBytes } from '../../../base/sparse-bytes.ts'
import { loadMemoryCalls, type MemoryCalls } from './memory-calls.ts'

/** Runs of pages with no more empty ones between them are mapped as one: calls against memory. */
const GAP_PAGES_MAX = 64
/** What is copied at once; it stays in the processor's cache. */
const CHUNK_BYTES = 262_144
const FILE_NAME = 'pgnap base'

/** Posting it to another thread copies nothing large. */
export interface BaseFile {
  readonly descriptor: number
  /** Which file it is: another one may have the number later. */
  readonly device: number
  readonly inode: number
  /** Pages to be shown, each at its own place in the file; all others are empty in the base. */
  readonly runs: PageRuns
}

export interface SharedBase {
  readonly base: LaidOutBase
  /** Undefined where there can be none: slots copy the base then. */
  readonly baseFile?: BaseFile
}

const known = new Map<number, SharedBase>()

/**
 * The base of an asset file, laid out for the rest of this thread's life: once for each file.
 * @param descriptor of the asset file, which is open as long
 */
export function sharedBaseOf(
  descriptor: number,
  read: () => BaseImage,
  copy: SparseBytes['copy'],
): SharedBase {
  const found = known.get(descriptor)
  if (found) return found
  const made = layOutShared(read(), copy)
  known.set(descriptor, made)
  return made
}

/** The asset file turns out to be damaged. Slots that show the base of it must be gone. */
export function forgetBaseOf(descriptor: number): void {
  const { baseFile } = known.get(descriptor) ?? {}
  known.delete(descriptor)
  if (baseFile) closeSync(baseFile.descriptor)
}

export function layOutShared(image: BaseImage, copy: SparseBytes['copy']): SharedBase {
  const calls = loadMemoryCalls()
  const descriptor = calls && createFile(calls)
  const base = calls && descriptor !== undefined && shown(image, copy, calls, descriptor)
  if (!base) {
    if (descriptor !== undefined) closeSync(descriptor)
    return { base: layOut(image, slotMemory, copy) }
  }
  const { dev: device, ino: inode } = fstatSync(descriptor)
  return { base, baseFile: { descriptor, device, inode, runs: joined(base.runs) } }
}

/** With a descriptor of Node's, which closes it when this thread ends, whatever way it does. */
function createFile(calls: MemoryCalls): number | undefined {
  const unknown = calls.createFile(FILE_NAME)
  if (unknown === undefined) return undefined
  try {
    return openSync(`/proc/self/fd/${unknown}`, 'r+')
  } catch {
    // There is no /proc, or no descriptor is left.
    return undefined
  } finally {
    calls.close(unknown)
  }
}

/** A base that shows the file, into which it has been written; undefined if that fails. */
function shown(
  image: BaseImage,
  copy: SparseBytes['copy'],
  calls: MemoryCalls,
  file: number,
): LaidOutBase | undefined {
  const base = reserveBase(image, slotMemory)
  const { memory, endBytes } = base
  const bytes = new Uint8Array(memory.buffer, 0, endBytes)
  try {
    ftruncateSync(file, endBytes)
    writePages(image, copy, file)
  } catch {
    // There is no room for it.
    return undefined
  }
  // Where it cannot be shown, this memory is nobody's.
  return calls.seal(file) && calls.map(bytes, file, 0, 'read only') ? base : undefined
}

/** By way of a small buffer: to write to fresh pages of a mapping takes a fault for each. */
function writePages({ runs, pages }: BaseImage, copy: SparseBytes['copy'], file: number): void {
  const buffer = new Uint8Array(CHUNK_BYTES)
  let from = 0
  for (const [page, count] of eachRun(runs)) {
    const end = from + count * DELTA_PAGE_BYTES
    let position = page * DELTA_PAGE_BYTES
    while (from < end) {
      const part = pages.subarray(from, Math.min(from + CHUNK_BYTES, end))
      copy(part, [buffer.subarray(0, part.length)])
      for (let done = 0; done < part.length;) {
        done += writeSync(file, buffer, done, part.length - done, position + done)
      }
      from += part.length
      position += part.length
    }
  }
}

function joined(runs: PageRuns): number[] {
  const all: number[] = []
  for (const [page, count] of eachRun(runs)) {
    const [lastPage = 0, lastCount = 0] = all.slice(-2)
    const gap = page - lastPage - lastCount
    if (all.length === 0 || gap > GAP_PAGES_MAX) all.push(page, count)
    else all[all.length - 1] = lastCount + gap + count
  }
  return all
}

/** Bytes of these pages. */
export function pageBytes(
  memory: WebAssembly.Memory,
  page: number,
  count: number,
): Uint8Array<ArrayBufferLike> {
  return new Uint8Array(memory.buffer, page * DELTA_PAGE_BYTES, count * DELTA_PAGE_BYTES)
}
