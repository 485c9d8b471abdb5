/**
 * How far the files of one tenant may grow: up to the ceiling of its database, and as long as the
 * disk keeps something free. Who reaches either is refused as by a full disk, one statement at a
 * time: the transaction fails and the session goes on.
 *
 * A disk that is full to the last byte helps nobody: a commit that has found room in SQLite's log
 * finds none when it is copied into the file, a tenant that was lost in the middle of that cannot
 * recover, and nobody else's new file has room.
 */
import { PgnapError } from '../base/errors.ts'
import { FileError, type FileNode } from './file-node.ts'

/**
 * Beyond the ceiling, room for what it takes to get below it: an emptied table and its indexes are
 * new files, a vacuum makes its maps, a commit notes its transaction. In files that stay small.
 */
const RESERVE_BYTES = 16_777_216
/** The same beyond what was opened, if a lowered ceiling is below that: to note a checkpoint. */
const LOWERED_RESERVE_BYTES = 1_048_576
/** A segment of the commit log is as large. */
const SMALL_FILE_BYTES = 262_144
/** Free space and visibility. */
const MAP = /_(?:fsm|vm)$/
/** Pages that Postgres has added to files and still has in its buffers: their room is not taken. */
const BUFFERED_BYTES = 4_194_304
/** Where there is little room, more than this is committed before it is twice as much. */
const TIGHT_COMMIT_BYTES = 2_097_152
/**
 * Of what a disk keeps free, the part that statements do not even change pages in: WAL, a recovery
 * and upkeep, which give room back, have it.
 */
const LAST_PART = 1 / 4

/**
 * Whether a disk has room for so many bytes of pages more, beside all that is dirty and what it is
 * to keep free.
 * @param keptPart of that. Default: all of it
 */
export type HasRoom = (bytes: number, keptPart?: number) => boolean

/** A disk that several tenants write to at the same time. */
export interface SharedDisk {
  readonly hasRoom: HasRoom
  /** So much more, or less, is dirty: is to be committed, and has no place on the disk yet. */
  readonly addDirty: (bytes: number) => void
}

export interface RoomOptions {
  readonly databaseBytesMax: number
  /** As large was the database when it was opened. */
  readonly openedBytes: number
  /** Default: there is always room. */
  readonly disk: SharedDisk | undefined
}

export class Room {
  readonly #databaseBytesMax: number
  /** For small files. */
  readonly #reserveEndBytes: number
  readonly #disk: SharedDisk | undefined
  #dirtyBytes = 0

  constructor({ databaseBytesMax, openedBytes, disk }: RoomOptions) {
    this.#databaseBytesMax = databaseBytesMax
    this.#disk = disk
    const endBytes = databaseBytesMax + RESERVE_BYTES
    this.#reserveEndBytes = openedBytes > endBytes ? openedBytes + LOWERED_RESERVE_BYTES : endBytes
  }

  /**
   * Throws ENOSPC if a file may not grow so far.
   * @param databaseBytes of all files, before that
   */
  checkDatabase(node: FileNode, grownBytes: number, databaseBytes: number): void {
    const bytesMax = isSmall(node, grownBytes) ? this.#reserveEndBytes : this.#databaseBytesMax
    if (databaseBytes + grownBytes > bytesMax) throw new FileError('ENOSPC', 'database')
  }

  /** So much is dirty now: others see it, before it is on the disk. */
  noteDirty(bytes: number): void {
    if (bytes !== this.#dirtyBytes) this.#disk?.addDirty(bytes - this.#dirtyBytes)
    this.#dirtyBytes = bytes
  }

  /** The same of the disk, not to be asked of what recovers: that has to end. */
  checkDisk(node: FileNode, grownBytes: number): void {
    const disk = this.#disk
    if (!disk || isSmall(node, grownBytes)) return
    if (!disk.hasRoom(grownBytes + BUFFERED_BYTES)) throw new FileError('ENOSPC', 'disk')
  }

  /** The same of pages that are there, and of what a client's statement changes in them. */
  checkChange(node: FileNode): void {
    const disk = this.#disk
    if (!disk || isSmall(node, 0)) return
    if (!disk.hasRoom(0, LAST_PART)) throw new FileError('ENOSPC', 'disk')
  }

  /** Whether what is dirty is to be committed now, because more would not find room at once. */
  get isCommitDue(): boolean {
    const disk = this.#disk
    return (
      disk !== undefined && this.#dirtyBytes > TIGHT_COMMIT_BYTES && !disk.hasRoom(BUFFERED_BYTES)
    )
  }

  /**
   * A commit that does not grow is let through, or nobody could ever delete anything. Throws
   * DATABASE_TOO_LARGE.
   */
  checkCommit(databaseBytes: number, committedBytes: number): void {
    if (databaseBytes <= this.#reserveEndBytes || databaseBytes <= committedBytes) return
    throw new PgnapError('DATABASE_TOO_LARGE', 'the database has reached its size limit', {
      detail: `${databaseBytes} bytes, limit databaseBytesMax ${this.#databaseBytesMax}`,
      hint: 'TRUNCATE, DROP, or DELETE and VACUUM; or raise --database-size',
    })
  }
}

function isSmall(node: FileNode, grownBytes: number): boolean {
  return node.size + grownBytes <= SMALL_FILE_BYTES || MAP.test(node.name)
}
