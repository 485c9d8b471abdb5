/**
 * Calls of the system about memory, which Node has no functions for. Linux on machines with pages
 * of 4 KiB; elsewhere there are none, and everything that uses them has another way.
 *
 * Numbers are those of the generic headers, which x64 and arm64 share.
 * Sources: mmap(2), madvise(2), memfd_create(2), F_ADD_SEALS(2const).
 */
import { DELTA_PAGE_BYTES } from '../../../engine/memory-delta.ts'
import { addressOf, linkedFunctions } from '../ffi.ts'

/** PROT_READ, and PROT_WRITE with it. */
const READ = 1
const READ_AND_WRITE = 3
/** MAP_FIXED with MAP_PRIVATE, and with MAP_ANONYMOUS. */
const PRIVATE = 0x12
const OF_NO_FILE = 0x32
/** MADV_DONTNEED. */
const DROP = 4
/** MFD_CLOEXEC and MFD_ALLOW_SEALING; with MFD_NOEXEC_SEAL, which some systems insist on. */
const SEALABLE = 3
const NEVER_RUN = 11
/** Not to be written, made larger or smaller, nor to be unsealed: F_SEAL_*. */
const ADD_SEALS = 1033
const ALL_SEALS = 15

/** What becomes of what is written where a file is shown. */
export type MappingKind =
  /** It cannot be written: the process ends. */
  | 'read only'
  /** The page becomes the memory's own (copy on write). */
  | 'copied'

const PROTECTION: Readonly<Record<MappingKind, number>> = {
  'read only': READ,
  copied: READ_AND_WRITE,
}

export interface MemoryCalls {
  /** A file of memory pages, without a name, unknown to Node. Undefined if there can be none. */
  createFile(name: string): number | undefined
  /** Whether nobody can change the file from now on. */
  seal(file: number): boolean
  close(file: number): void
  /** Has `bytes` show the file from `offset` on. All in whole pages. */
  map(bytes: Uint8Array, file: number, offset: number, kind: MappingKind): boolean
  /**
   * Has `bytes` be empty memory of its own. To be called where {@link map} has failed: some kernels
   * leave nothing at all there, and whoever touches that ends the process.
   */
  mapNothing(bytes: Uint8Array): boolean
  /** What was written to these whole pages is lost: they show what they did before. */
  drop(bytes: Uint8Array): boolean
}

/** Undefined on other systems, and where Node cannot make calls. */
export function loadMemoryCalls(): MemoryCalls | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const calls = linkedFunctions({
      getpagesize: { arguments: [], return: 'int32' },
      memfd_create: { arguments: ['string', 'uint32'], return: 'int32' },
      fcntl: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
      close: { arguments: ['int32'], return: 'int32' },
      mmap: {
        arguments: ['uint64', 'uint64', 'int32', 'int32', 'int32', 'int64'],
        return: 'int64',
      },
      madvise: { arguments: ['uint64', 'uint64', 'int32'], return: 'int32' },
    })
    return calls.getpagesize() === DELTA_PAGE_BYTES ? wrapped(calls) : undefined
  } catch {
    // No such module, no such symbol, or forbidden by Node's permissions.
    return undefined
  }
}

interface Linked {
  memfd_create(name: string, flags: number): number
  fcntl(file: number, command: number, argument: number): number
  close(file: number): number
  mmap(
    address: bigint,
    length: bigint,
    protection: number,
    flags: number,
    file: number,
    offset: bigint,
  ): bigint
  madvise(address: bigint, length: bigint, advice: number): number
}

function wrapped(calls: Linked): MemoryCalls {
  return {
    createFile(name) {
      for (const flags of [NEVER_RUN, SEALABLE]) {
        const file = calls.memfd_create(name, flags)
        if (file >= 0) return file
      }
      return undefined
    },
    seal: (file) => calls.fcntl(file, ADD_SEALS, ALL_SEALS) === 0,
    close: (file) => void calls.close(file),
    map(bytes, file, offset, kind) {
      const address = addressOf(bytes)
      const length = BigInt(bytes.length)
      const at = calls.mmap(address, length, PROTECTION[kind], PRIVATE, file, BigInt(offset))
      return at === address
    },
    mapNothing(bytes) {
      const address = addressOf(bytes)
      const length = BigInt(bytes.length)
      return calls.mmap(address, length, READ_AND_WRITE, OF_NO_FILE, -1, 0n) === address
    },
    drop: (bytes) => calls.madvise(addressOf(bytes), BigInt(bytes.length), DROP) === 0,
  }
}
