/**
 * Keeps the base in a file of memory pages, so that slots of all threads can show its pages until
 * they write to them (`shared-pages.ts`). Sealed, it can be changed by nobody.
 */
import { fstatSync, ftruncateSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'
import {
  type BaseImage,
  fillBase,
  type LaidOutBase,
  reserveBase,
} from '../../../engine/base-memory.ts'
import { DELTA_PAGE_BYTES } from '../../../engine/memory-delta.ts'
import { eachRun, type PageRuns } from '../../../engine/page-runs.ts'
import { slotMemory } from '../../../engine/slot-memory.ts'
import type { SparseBytes } from '../../../base/sparse-bytes.ts'
import { loadMemoryCalls, type MemoryCalls } from './memory-calls.ts'

/** Runs of pages with no more empty ones between them are mapped as one: calls against memory. */
const GAP_PAGES_MAX = 64
const FILE_NAME = 'pgnap base'

/** Posting it to another thread copies nothing large. */
export interface BaseFile {
  readonly descriptor: number
  /** Which file it is: another one may have the number later. */
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
 * The base of an asset file, laid out for the rest of the process's life: once for each file.
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

export function layOutShared(image: BaseImage, copy: SparseBytes['copy']): SharedBase {
  const base = reserveBase(image, slotMemory)
  const calls = loadMemoryCalls()
  const file = calls?.createFile(FILE_NAME)
  const isBacked = calls && file !== undefined && back(base, calls, file)
  fillBase(base, image, copy)
  if (calls && isBacked && seal(base, calls, file)) {
    const { ino: inode } = fstatSync(file)
    // Node closes what it has opened itself when a thread ends, and does not know this one.
    if (!isMainThread) process.once('exit', () => calls.close(file))
    return { base, baseFile: { descriptor: file, inode, runs: joined(base.runs) } }
  }
  // What the memory shows of it stays as it is.
  if (calls && file !== undefined) calls.close(file)
  return { base }
}

/** From here on what is written to the base is in the file. */
function back({ memory, endBytes }: LaidOutBase, calls: MemoryCalls, file: number): boolean {
  try {
    ftruncateSync(file, endBytes)
  } catch {
    return false
  }
  return calls.map(new Uint8Array(memory.buffer, 0, endBytes), file, 0, 'written through')
}

/** Files are not sealed while anybody could write to them by memory. */
function seal({ memory, endBytes }: LaidOutBase, calls: MemoryCalls, file: number): boolean {
  const bytes = new Uint8Array(memory.buffer, 0, endBytes)
  return calls.map(bytes, file, 0, 'read only') && calls.seal(file)
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
