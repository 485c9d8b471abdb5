/** The disk of stores: how much of it is free, asked as often as it matters. */
import { statfsSync } from 'node:fs'
import type { Clock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import type { SharedDisk } from '../../store/room.ts'
import { DirtyCount } from './dirty-count.ts'

/** Of a small disk no more is kept free than this part of it. */
const RESERVED_PART = 1 / 4
/**
 * What a commit takes of the disk, in its own size: it is in SQLite's log first and then in the
 * file as well, and a tenth of SQLite's pages is not it (measured: 2.19 for 32 MiB of pages).
 */
const SPREAD_OF_A_COMMIT = 2.25
/** An answer holds for so long, where it leaves more than anybody could use up meanwhile. */
const ANSWER_HOLDS_MS = 100
const PLENTY_BYTES = 1_073_741_824

/** What a disk says of itself, in bytes. */
export interface DiskSpace {
  readonly totalBytes: number
  /** For those who are not the superuser. */
  readonly freeBytes: number
}

const NOTHING_KNOWN: DiskSpace = { totalBytes: 0, freeBytes: 0 }

/**
 * The disk of all that is in the folder `path`, which keeps `LIMITS.diskReserveBytes` free. One
 * that does not answer is taken to have room: what does not fit fails in its own words.
 */
export function diskOf(
  path: string,
  clock: Clock,
  ask: (path: string) => DiskSpace = askDisk,
): SharedDisk {
  let space: DiskSpace = NOTHING_KNOWN
  let holdsUntilMs = 0
  const dirty = new DirtyCount()
  const usableBytes = (keptPart: number): number => {
    const reserveBytes = Math.min(LIMITS.diskReserveBytes, space.totalBytes * RESERVED_PART)
    return space.freeBytes - keptPart * reserveBytes
  }
  const hasRoom = (bytes: number, keptPart = 1): boolean => {
    const neededBytes = SPREAD_OF_A_COMMIT * (dirty.bytes + bytes)
    const nowMs = clock.monotonicMs()
    if (nowMs >= holdsUntilMs || usableBytes(keptPart) - neededBytes < PLENTY_BYTES) {
      space = askOrTrust(path, ask)
      holdsUntilMs = nowMs + ANSWER_HOLDS_MS
    }
    return neededBytes <= usableBytes(keptPart)
  }
  return { hasRoom, addDirty: (bytes) => dirty.add(bytes) }
}

function askOrTrust(path: string, ask: (path: string) => DiskSpace): DiskSpace {
  try {
    return ask(path)
  } catch {
    return { totalBytes: Number.POSITIVE_INFINITY, freeBytes: Number.POSITIVE_INFINITY }
  }
}

function askDisk(path: string): DiskSpace {
  const { bsize, blocks, bavail } = statfsSync(path)
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize }
}
