/**
 * One file or directory of one tenant, as long as it is in memory. A boot touches about 950 of
 * them, so a node is one flat object: its maps exist only once something is in them.
 *
 * Only the tree and its pages (file-tree.ts, file-pages.ts, tenant-files.ts) may change a node;
 * everyone else reads `ino`, `mode`, `size`, `modifiedMs`, `isDirectory`.
 */
import type { InodeNo } from '../base/ids.ts'
import type { TemplateNode } from './template.ts'
import type { LevelRecord } from './view.ts'

export const ROOT_INODE: InodeNo = 1 as InodeNo
const TYPE_MASK = 0o170000
export const DIRECTORY_MODE = 0o040000
/** Bytes per chunk of ordinary files: one page of Postgres. */
export const PAGE_BYTES = 8192
/**
 * Bytes per chunk below pg_wal: a commit rewrites 8 KiB of which little changes
 * (append-history.ts).
 */
export const WAL_CHUNK_BYTES = 4096
/** Name, below the root, of the directory of Postgres's write-ahead log. */
export const WAL_DIRECTORY = 'pg_wal'

export const isDirectoryMode = (mode: number): boolean => (mode & TYPE_MASK) === DIRECTORY_MODE

/** `mode` with other permission bits. */
export const withPermissions = (mode: number, permissions: number): number =>
  (mode & TYPE_MASK) | (permissions & 0o7777)

/** What a file operation can be refused with; the names of errno. */
export type FileErrorName =
  | 'ENOENT'
  | 'EEXIST'
  | 'ENOTEMPTY'
  | 'ENOTDIR'
  | 'EISDIR'
  | 'EINVAL'
  | 'EXDEV'
  | 'EFBIG'
  | 'ENOSPC'

/**
 * For want of which room a file may not grow: temporary files of one tenant, all of its database,
 * or the disk.
 */
export type FileLimit = 'temporary' | 'database' | 'disk'

/** An ordinary refusal, for Postgres to see as an errno. Failures of the store are `PgnapError`. */
export class FileError extends Error {
  override readonly name = 'FileError'
  readonly errno: FileErrorName
  /** With ENOSPC. */
  readonly met: FileLimit | undefined

  constructor(errno: FileErrorName, met?: FileLimit) {
    super(errno)
    this.errno = errno
    this.met = met
  }
}

const NO_LEVELS: readonly LevelRecord[] = []

export interface FileNodeFacts {
  readonly ino: InodeNo
  readonly parent: InodeNo | 0
  readonly name: string
  readonly mode: number
  readonly size: number
  readonly modifiedMs: number
  readonly baseBytes: number
  readonly chunkBytes: number
  readonly template: TemplateNode | undefined
  readonly lower?: readonly LevelRecord[]
  readonly recorded: boolean
  readonly ephemeral: boolean
}

export class FileNode {
  readonly ino: InodeNo
  /** Type and permission bits, as in struct stat. */
  mode: number
  /** In bytes; 0 for a directory. */
  size: number
  modifiedMs: number
  parent: InodeNo | 0
  name: string
  /** How many bytes of what lies below (lower layers, then the template) still show through. */
  baseBytes: number
  readonly chunkBytes: number
  readonly template: TemplateNode | undefined
  /** What lower layers say of this file, topmost first. */
  readonly lower: readonly LevelRecord[]
  /** The layer itself has a record of this file. */
  recorded: boolean
  /** The record must be written by the next commit. */
  recordDirty: boolean
  /** Never reaches the store. */
  ephemeral: boolean
  /** No longer in the tree. Content stays until the last holder lets go and a commit has passed. */
  unlinked: boolean
  /** Open descriptors, as far as the user of the tree tells (`retain`, `release`). */
  holders: number
  /** Chunks below this may have a row in the layer; rows at or above it are dead. */
  storedChunks: number
  /** Rows from this chunk on must be deleted by the next commit. */
  cutChunk: number
  /** Chunks changed since the last commit, at full length. */
  dirty: Map<number, Uint8Array> | undefined
  /** Of a directory: names that differ from the template; null for one that is gone. */
  overlay: Map<string, InodeNo | null> | undefined
  /** Chunks of WAL written so far, from the start of the file. */
  walChunks: number

  constructor(facts: FileNodeFacts) {
    this.ino = facts.ino
    this.mode = facts.mode
    this.size = facts.size
    this.modifiedMs = facts.modifiedMs
    this.parent = facts.parent
    this.name = facts.name
    this.baseBytes = facts.baseBytes
    this.chunkBytes = facts.chunkBytes
    this.template = facts.template
    this.lower = facts.lower ?? NO_LEVELS
    this.recorded = facts.recorded
    this.recordDirty = false
    this.ephemeral = facts.ephemeral
    this.unlinked = false
    this.holders = 0
    this.storedChunks = facts.recorded ? Math.ceil(facts.size / facts.chunkBytes) : 0
    this.cutChunk = Infinity
    this.dirty = undefined
    this.overlay = undefined
    this.walChunks = 0
  }

  get isDirectory(): boolean {
    return isDirectoryMode(this.mode)
  }

  /** Nobody has changed it since its store was made. */
  get isAsInTemplate(): boolean {
    const isWritten = this.recorded || this.recordDirty || this.dirty !== undefined
    return this.template !== undefined && this.lower.length === 0 && !isWritten
  }

  /** Part of Postgres's write-ahead log. */
  get isWal(): boolean {
    return this.chunkBytes === WAL_CHUNK_BYTES
  }

  get dirtyBytes(): number {
    return (this.dirty?.size ?? 0) * this.chunkBytes
  }
}
