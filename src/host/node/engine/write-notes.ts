/**
 * Has the kernel note which pages of a memory are written: Linux 6.7 and later, by way of
 * `node:ffi` (Node 26, experimental). Where any of that is missing there are no notes, and slots
 * are compared whole.
 *
 * A page is write-protected by userfaultfd in its asynchronous mode: the first write to it faults,
 * the kernel lets it through and forgets the protection; nobody is woken. PAGEMAP_SCAN tells which
 * pages of a range are not protected. The kernel's own writes count as well.
 * Sources: Documentation/admin-guide/mm/userfaultfd.rst and pagemap.rst, userfaultfd(2),
 * ioctl_userfaultfd(2), PAGEMAP_SCAN(2const).
 *
 * One descriptor of userfaultfd serves all threads, and none closes it: Node does not know it, so
 * it outlives the thread that has opened it.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { DELTA_PAGE_BYTES } from '../../../engine/memory-delta.ts'
import { eachRun, type PageRuns } from '../../../engine/page-runs.ts'
import type { WriteNotes } from '../../../engine/touched-pages.ts'
import { withoutWarning } from '../handover/descriptors.ts'
import { sharedCell } from '../shared-cell.ts'

/** Under this name all threads find the descriptor, plus 1; or {@link IMPOSSIBLE}. */
const CELL_NAME = 'pgnap: the descriptor by which writes to memory are noted'
const UNKNOWN = 0
const IMPOSSIBLE = -1

/** userfaultfd(2), which has no function in the C library, by architecture. */
const USERFAULTFD: Partial<Record<NodeJS.Architecture, bigint>> = { x64: 323n, arm64: 282n }
/** UFFD_USER_MODE_ONLY, which needs no privilege, and O_CLOEXEC. */
const OPEN_FLAGS = 0x8_0001n
/** Commands of ioctl(2): UFFDIO_API, UFFDIO_REGISTER, UFFDIO_WRITEPROTECT, PAGEMAP_SCAN. */
const SHAKE_HANDS = 0xc018_aa3fn
const REGISTER = 0xc020_aa00n
const PROTECT = 0xc018_aa06n
const SCAN = 0xc060_6610n
const API_VERSION = 0xaan
/** UFFD_FEATURE_WP_ASYNC, and _WP_UNPOPULATED: pages that were never touched count, too. */
const FEATURES = 0xa000n
/** UFFDIO_REGISTER_MODE_WP, UFFDIO_WRITEPROTECT_MODE_WP. */
const TO_PROTECT = 2n
const PROTECTED = 1n
/** PAGE_IS_WRITTEN. */
const WRITTEN = 2n
/** Sizes of struct pm_scan_arg, and of struct page_region: start, end, categories. */
const SCAN_BYTES = 96
const REGION_WORDS = 3
/** In pm_scan_arg: where the kernel has stopped, because it had no room for more. */
const WALK_END_AT = 4
/** Regions that one call can tell; two tenants of a thousand rows leave some four hundred. */
const REGIONS_MAX = 2048
const PAGE = BigInt(DELTA_PAGE_BYTES)

/** To be called before a thread is started, so that it finds what others have opened. */
export function shareWriteNotes(): void {
  sharedCell(CELL_NAME)
}

/** Asked once per thread. */
let ofThread: PageKernel | undefined
let isAsked = false

/** Notes of what is written to `memory`, wherever from; undefined if they cannot be had here. */
export function noteWrites(memory: WebAssembly.Memory): WriteNotes | undefined {
  if (!isAsked) ofThread = openKernel()
  isAsked = true
  return ofThread && new KernelWriteNotes(ofThread, memory)
}

class KernelWriteNotes implements WriteNotes {
  readonly #kernel: PageKernel
  /** A shared memory stays where it is, however it grows. */
  readonly #start: bigint
  /** Up to there its pages can be protected. */
  #registeredPages = 0

  constructor(kernel: PageKernel, memory: WebAssembly.Memory) {
    this.#kernel = kernel
    this.#start = kernel.addressOf(new Uint8Array(memory.buffer))
  }

  written(endPage: number): PageRuns {
    const runs: number[] = []
    const end = Math.min(endPage, this.#registeredPages)
    for (let page = 0; page < end;) {
      const next = this.#kernel.tellWritten(this.#address(page), this.#address(end), (from, to) => {
        const first = this.#page(from)
        runs.push(first, this.#page(to) - first)
      })
      // Without an answer all may have been written.
      if (next === undefined) return [0, endPage]
      page = this.#page(next)
    }
    if (end < endPage) runs.push(end, endPage - end)
    return runs
  }

  watch(runs: PageRuns): void {
    const last = runs.length - 2
    const endPage = (runs[last] ?? 0) + (runs[last + 1] ?? 0)
    if (endPage > this.#registeredPages) {
      const from = this.#address(this.#registeredPages)
      // What cannot be protected goes on counting as written, here and below.
      if (!this.#kernel.register(from, this.#address(endPage))) return
      this.#registeredPages = endPage
    }
    for (const [page, count] of eachRun(runs)) {
      this.#kernel.protect(this.#address(page), this.#address(page + count))
    }
  }

  #address(page: number): bigint {
    return this.#start + BigInt(page) * PAGE
  }

  #page(address: bigint): number {
    return Number((address - this.#start) / PAGE)
  }
}

/** Of the C library, by numbers and addresses. */
interface Calls {
  readonly syscall: (number: bigint, flags: bigint) => bigint
  readonly ioctl: (descriptor: number, command: bigint, argument: bigint) => number
  readonly close: (descriptor: number) => number
  readonly addressOf: (bytes: Uint8Array | BigUint64Array) => bigint
}

interface Descriptors {
  /** Of userfaultfd. */
  readonly faults: number
  /** This thread's `/proc/self/pagemap`. */
  readonly pageMap: number
}

/** The kernel's part, by addresses of this process. */
class PageKernel {
  readonly addressOf: Calls['addressOf']
  readonly #ioctl: Calls['ioctl']
  readonly #descriptors: Descriptors
  // Buffers of their own, which the collector does not move.
  readonly #argument = new BigUint64Array(new ArrayBuffer(SCAN_BYTES))
  readonly #regions = new BigUint64Array(new ArrayBuffer(REGIONS_MAX * REGION_WORDS * 8))
  readonly #argumentAt: bigint
  readonly #regionsAt: bigint

  constructor({ ioctl, addressOf }: Calls, descriptors: Descriptors) {
    this.#ioctl = ioctl
    this.addressOf = addressOf
    this.#descriptors = descriptors
    this.#argumentAt = addressOf(this.#argument)
    this.#regionsAt = addressOf(this.#regions)
  }

  /** Whether this kernel can do all that is needed. To be asked once of each descriptor. */
  shakeHands(): boolean {
    return this.#call('faults', SHAKE_HANDS, [API_VERSION, FEATURES, 0n]) === 0
  }

  register(from: bigint, to: bigint): boolean {
    return this.#call('faults', REGISTER, [from, to - from, TO_PROTECT, 0n]) === 0
  }

  /** By one interruption of other processors, where PAGEMAP_SCAN takes one for each 2 MB. */
  protect(from: bigint, to: bigint): boolean {
    return this.#call('faults', PROTECT, [from, to - from, PROTECTED]) === 0
  }

  /** @returns how far it has looked; undefined if the kernel cannot tell */
  tellWritten(
    from: bigint,
    to: bigint,
    tell: (from: bigint, to: bigint) => void,
  ): bigint | undefined {
    const [flags, walkEnd, pagesMax, inverted, anyOf] = [0n, 0n, 0n, 0n, 0n]
    const range = [BigInt(SCAN_BYTES), flags, from, to, walkEnd]
    const room = [this.#regionsAt, BigInt(REGIONS_MAX), pagesMax]
    const masks = [inverted, WRITTEN, anyOf, WRITTEN]
    const count = this.#call('pageMap', SCAN, [...range, ...room, ...masks])
    if (count < 0) return undefined
    for (let at = 0; at < count * REGION_WORDS; at += REGION_WORDS) {
      tell(this.#regions[at] ?? 0n, this.#regions[at + 1] ?? 0n)
    }
    return this.#argument[WALK_END_AT]
  }

  #call(of: keyof Descriptors, command: bigint, argument: readonly bigint[]): number {
    this.#argument.set(argument)
    return this.#ioctl(this.#descriptors[of], command, this.#argumentAt)
  }
}

/** Undefined where the kernel, Node or whoever confines the process does not have it. */
function openKernel(): PageKernel | undefined {
  const cell = sharedCell(CELL_NAME)
  const calls = Atomics.load(cell, 0) === IMPOSSIBLE ? undefined : loadCalls()
  if (!calls) return undefined
  const pageMap = openSync('/proc/self/pagemap', 'r')
  const shared = Atomics.load(cell, 0)
  if (shared > UNKNOWN) return new PageKernel(calls, { faults: shared - 1, pageMap })
  const faults = Number(calls.syscall(USERFAULTFD[process.arch] ?? -1n, OPEN_FLAGS))
  const kernel = new PageKernel(calls, { faults, pageMap })
  const isGood = faults >= 0 && kernel.shakeHands() && isSound(kernel)
  // Of two threads that ask at the same moment each keeps what it has opened.
  Atomics.compareExchange(cell, 0, UNKNOWN, isGood ? faults + 1 : IMPOSSIBLE)
  if (isGood) return kernel
  if (faults >= 0) calls.close(faults)
  closeSync(pageMap)
  return undefined
}

function loadCalls(): Calls | undefined {
  if (process.platform !== 'linux' || !USERFAULTFD[process.arch]) return undefined
  try {
    const { dlopen, getRawPointer } = withoutWarning(() => process.getBuiltinModule('node:ffi'))
    const { functions } = dlopen(null, {
      syscall: { arguments: ['int64', 'int64'], return: 'int64' },
      ioctl: { arguments: ['int32', 'uint64', 'uint64'], return: 'int32' },
      close: { arguments: ['int32'], return: 'int32' },
    })
    return { ...functions, addressOf: getRawPointer }
  } catch {
    // No such module, no such symbol, or forbidden by Node's permissions.
    return undefined
  }
}

/** A kernel may take the commands, and mean something else by them: it is tried. */
function isSound(kernel: PageKernel): boolean {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
  const heap = new Uint8Array(memory.buffer)
  const notes = new KernelWriteNotes(kernel, memory)
  const endPage = heap.length / DELTA_PAGE_BYTES
  const areWritten = (...runs: number[]): boolean => isDeepStrictEqual(notes.written(endPage), runs)
  const touch = (page: number): number => (heap[page * DELTA_PAGE_BYTES] = 1)
  touch(2)
  notes.watch([0, endPage])
  const wasClean = areWritten()
  touch(2)
  touch(5)
  // By the kernel itself.
  const zeros = openSync('/dev/zero', 'r')
  readSync(zeros, heap, 9 * DELTA_PAGE_BYTES, 1, null)
  closeSync(zeros)
  const areNoted = areWritten(2, 1, 5, 1, 9, 1)
  notes.watch([4, 2])
  return wasClean && areNoted && areWritten(2, 1, 9, 1)
}
