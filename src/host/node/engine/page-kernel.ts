/**
 * The kernel's part in noting writes, by addresses of this process: userfaultfd and PAGEMAP_SCAN of
 * Linux 6.7 and later.
 *
 * A page is write-protected by userfaultfd in its asynchronous mode: the first write to it faults,
 * the kernel lets it through and forgets the protection; nobody is woken. PAGEMAP_SCAN tells which
 * pages of a range are not protected. The kernel's own writes count as well.
 * Sources: Documentation/admin-guide/mm/userfaultfd.rst and pagemap.rst, userfaultfd(2),
 * ioctl_userfaultfd(2), PAGEMAP_SCAN(2const).
 */
import { addressOf, linkedFunctions } from '../ffi.ts'

/** userfaultfd(2), which has no function in the C library, by architecture. */
const USERFAULTFD: Partial<Record<NodeJS.Architecture, bigint>> = { x64: 323n, arm64: 282n }
/** UFFD_USER_MODE_ONLY, which needs no privilege, and O_CLOEXEC. */
const OPEN_FLAGS = 0x8_0001n
/** Commands of ioctl(2): UFFDIO_API, UFFDIO_REGISTER, UFFDIO_WRITEPROTECT, PAGEMAP_SCAN. */
const SHAKE_HANDS = 0xc018_aa3fn
export const REGISTER = 0xc020_aa00n
export const PROTECT = 0xc018_aa06n
export const SCAN = 0xc060_6610n
const API_VERSION = 0xaan
/** UFFD_FEATURE_WP_ASYNC, and _WP_UNPOPULATED: pages that were never touched count, too. */
const FEATURES = 0xa000n
/** UFFDIO_REGISTER_MODE_WP, UFFDIO_WRITEPROTECT_MODE_WP. */
const TO_PROTECT = 2n
const PROTECTED = 1n
/** PM_SCAN_CHECK_WPASYNC: what is registered no more is an error, not a page that nobody wrote. */
const MUST_BE_REGISTERED = 2n
/** PAGE_IS_WRITTEN. */
const WRITTEN = 2n
/** Sizes of struct pm_scan_arg, and of struct page_region: start, end, categories. */
const SCAN_BYTES = 96
const REGION_WORDS = 3
/** In pm_scan_arg: where the kernel has stopped, because it had no room for more. */
const WALK_END_AT = 4
/** Regions that one call can tell; two tenants of a thousand rows leave some four hundred. */
const REGIONS_MAX = 2048

/** Of the C library, by numbers and addresses. */
export interface Calls {
  readonly syscall: (number: bigint, flags: bigint) => bigint
  readonly ioctl: (descriptor: number, command: bigint, argument: bigint) => number
  readonly close: (descriptor: number) => number
}

export interface Descriptors {
  /** Of userfaultfd. */
  readonly faults: number
  /** This thread's `/proc/self/pagemap`. */
  readonly pageMap: number
}

/** The kernel's part, by addresses of this process. */
export class PageKernel {
  readonly #ioctl: Calls['ioctl']
  readonly #descriptors: Descriptors
  // Buffers of their own, which the collector does not move.
  readonly #argument = new BigUint64Array(new ArrayBuffer(SCAN_BYTES))
  readonly #regions = new BigUint64Array(new ArrayBuffer(REGIONS_MAX * REGION_WORDS * 8))
  readonly #argumentAt: bigint
  readonly #regionsAt: bigint

  constructor({ ioctl }: Calls, descriptors: Descriptors) {
    this.#ioctl = ioctl
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
    const [walkEnd, pagesMax, inverted, anyOf] = [0n, 0n, 0n, 0n]
    const range = [BigInt(SCAN_BYTES), MUST_BE_REGISTERED, from, to, walkEnd]
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

/** The calls themselves; undefined on other systems, and where Node cannot make them. */
export function loadCalls(): Calls | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    return linkedFunctions({
      syscall: { arguments: ['int64', 'int64'], return: 'int64' },
      ioctl: { arguments: ['int32', 'uint64', 'uint64'], return: 'int32' },
      close: { arguments: ['int32'], return: 'int32' },
    })
  } catch {
    // No such module, no such symbol, or forbidden by Node's permissions.
    return undefined
  }
}

/** A descriptor of userfaultfd; undefined if the kernel gives none, or somebody forbids it. */
export function openFaults({ syscall }: Calls): number | undefined {
  const number = USERFAULTFD[process.arch]
  const faults = number === undefined ? -1 : Number(syscall(number, OPEN_FLAGS))
  return faults < 0 ? undefined : faults
}
