/**
 * The files of one tenant: a tree over a view of its store and over the template, held in memory
 * only where it was touched. It is what Postgres sees as its data directory, and it knows nothing
 * of Postgres but three facts: chunks below pg_wal are smaller, some names mean nothing after a
 * restart, and one commit must hold everything that changed since the last one.
 *
 * Opening reads the records of changed files, so its cost does not depend on the template or on the
 * size of the database. Nothing is durable until `commit`; nothing may be acknowledged before it. A
 * commit that fails leaves these files useless (`broken`): memory is ahead of the store and cannot
 * be wound back. Drop them and the slot, and open again.
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { InodeNo, Version } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { FileError, type FileNode, withPermissions } from './file-node.ts'
import { changesOf } from './file-changes.ts'
import { FilePages, type HeldBytes } from './file-pages.ts'
import { FileTree, RELCACHE_FILE } from './file-tree.ts'
import { CHUNKS_PER_INODE } from './keys.ts'
import { Room, type SharedDisk } from './room.ts'
import type { Template } from './template.ts'
import type { FileView } from './view.ts'

export { FileError, FileNode, type FileErrorName, type FileLimit } from './file-node.ts'

export interface TenantFilesOptions {
  /** Of the store, or any template in memory. */
  readonly template: Template
  readonly clock: Clock
  /** Default: `LIMITS.pageCacheBytesMax`. */
  readonly cacheBytesMax?: number
  /** Default: `LIMITS.databaseBytesMax`. */
  readonly databaseBytesMax?: number
  /** Default: `LIMITS.ephemeralBytesMax`. */
  readonly ephemeralBytesMax?: number
  /** That the store is on. Default: there is always room. */
  readonly disk?: SharedDisk
}

export class TenantFiles implements Disposable {
  readonly #view: FileView | undefined
  readonly #template: Template
  readonly #clock: Clock
  readonly #room: Room
  readonly #pages: FilePages
  readonly #tree: FileTree
  /** Nodes with something for the next commit: content, record or removal. */
  readonly #dirtyNodes = new Set<FileNode>()
  /** Files in the store that have left the tree by becoming ephemeral. */
  readonly #leftStore = new Set<FileNode>()
  /** Postgres starts: a recovery has to end, and may use what the disk keeps free. */
  starting = false
  /** What is written is for a client's statement, and not what the pool does by itself. */
  servesClient = false
  /** Beyond, what a statement dirties is committed before it ends; see {@link commitMidway}. */
  midwayBytesMax: number = Number.POSITIVE_INFINITY
  #committedDatabaseBytes: number
  #walDirty = false
  /** Goes up with every change of what is stored. */
  #changeCount = 0
  /** What it was after Postgres had started and written no WAL. */
  #changeCountAtStart: number | undefined
  #broken: unknown = undefined
  #closed = false

  private constructor(view: FileView | undefined, options: TenantFilesOptions) {
    this.#view = view
    this.#template = options.template
    this.#clock = options.clock
    this.#pages = new FilePages({
      view,
      cacheBytesMax: options.cacheBytesMax ?? LIMITS.pageCacheBytesMax,
      ephemeralBytesMax: options.ephemeralBytesMax ?? LIMITS.ephemeralBytesMax,
      onDirty: (node) => this.#mark(node),
    })
    this.#tree = new FileTree(options.template, view)
    for (const orphan of this.#tree.orphans) this.#dirtyNodes.add(orphan)
    this.#committedDatabaseBytes = this.#tree.databaseBytes
    this.#room = new Room({
      databaseBytesMax: options.databaseBytesMax ?? LIMITS.databaseBytesMax,
      openedBytes: this.#tree.databaseBytes,
      disk: options.disk,
    })
  }

  /** The files that a view shows. They own the view: `close` closes it. */
  static open(view: FileView, options: TenantFilesOptions): TenantFiles {
    return new TenantFiles(view, options)
  }

  /** A copy of the template that is written in memory and nowhere else. `commit` does nothing. */
  static inMemory(options: TenantFilesOptions): TenantFiles {
    return new TenantFiles(undefined, options)
  }

  get root(): FileNode {
    return this.#tree.root
  }

  /** What differs from the version that the view shows. */
  get dirty(): boolean {
    return this.#dirtyNodes.size > 0 || this.#leftStore.size > 0
  }

  /**
   * All that is dirty is what a start of Postgres has written, its recovery from a crash included,
   * and would write again at the next one: nobody was told anything that depends on it.
   */
  get onlyStarted(): boolean {
    return this.dirty && this.#changeCount === this.#changeCountAtStart
  }

  /** Says that Postgres has started on these files, and nothing has run in it yet. */
  noteStart(): void {
    this.starting = false
    this.#changeCountAtStart = this.#changeCount
  }

  /** Bytes that the next commit writes. Bounded by what one statement dirties. */
  get dirtyBytes(): number {
    return this.#pages.dirtyBytes
  }

  /** A file below pg_wal has changed since the last commit. */
  get walDirty(): boolean {
    return this.#walDirty && this.dirty
  }

  /** Bytes of WAL written since they were opened. Take the difference between checkpoints. */
  get walBytesWritten(): number {
    return this.#pages.walBytesWritten
  }

  /** How often something had to be fetched from the store. */
  get fetchCount(): number {
    return this.#pages.fetchCount
  }

  /** Sizes of all files but WAL and ephemeral ones. */
  get databaseBytes(): number {
    return this.#tree.databaseBytes
  }

  /** Of what is in memory. */
  get held(): HeldBytes {
    return this.#pages.held
  }

  /** A commit failed: every call throws until these files are dropped. */
  get broken(): boolean {
    return this.#broken !== undefined
  }

  /** What these files are a difference from. */
  get templateId(): string {
    return this.#template.id
  }

  /** The version that these files show, with their changes on top; undefined in memory. */
  get version(): Version | undefined {
    return this.#view?.version
  }

  lookup(directory: FileNode, name: string): FileNode | undefined {
    this.#check()
    return this.#tree.lookup(directory, name)
  }

  /**
   * The file that has this number, one that was unlinked and is still held included. A number that
   * was told at some version is good for every opening of that version.
   */
  fileOf(ino: InodeNo): FileNode | undefined {
    this.#check()
    return this.#tree.fileOf(ino)
  }

  /** Names in a directory, in no particular order, without . and .. */
  list(directory: FileNode): string[] {
    this.#check()
    return this.#tree.list(directory)
  }

  /** Throws EEXIST, ENOTDIR. */
  create(directory: FileNode, name: string, mode: number): FileNode {
    this.#check()
    const node = this.#tree.create(directory, name, mode, this.#clock.nowMs())
    this.#touch(node)
    return node
  }

  /**
   * Gives `node` another name, replacing what has it. Throws ENOENT when `node` has not the old
   * name; ENOTEMPTY, EISDIR, ENOTDIR for a target that cannot be replaced; EXDEV for a directory
   * that would move between what is stored and what is ephemeral.
   */
  rename(
    node: FileNode,
    fromDirectory: FileNode,
    fromName: string,
    toDirectory: FileNode,
    toName: string,
  ): void {
    this.#check()
    if (this.#tree.lookup(fromDirectory, fromName) !== node) throw new FileError('ENOENT')
    const target = this.#tree.lookup(toDirectory, toName)
    if (target === node) return
    this.#count(node)
    this.#tree.checkRename(node, toDirectory, target)
    const ephemeral = this.#tree.isEphemeralName(toDirectory, toName)
    if (node.isDirectory && ephemeral !== node.ephemeral) throw new FileError('EXDEV')
    if (target !== undefined) this.#remove(toDirectory, toName, target)
    this.#tree.move(node, fromDirectory, fromName, toDirectory, toName, this.#clock.nowMs())
    if (ephemeral && !node.ephemeral) this.#leaveStore(node)
    else if (!ephemeral && node.ephemeral) this.#enterStore(node)
    this.#touch(node)
  }

  /** Throws ENOENT, EISDIR. Whoever holds the node can still read and write it (`retain`). */
  unlink(directory: FileNode, name: string): void {
    this.#check()
    const node = this.#tree.lookup(directory, name)
    if (node === undefined) throw new FileError('ENOENT')
    if (node.isDirectory) throw new FileError('EISDIR')
    this.#remove(directory, name, node)
  }

  /** Throws ENOENT, ENOTDIR, ENOTEMPTY. */
  removeDirectory(directory: FileNode, name: string): void {
    this.#check()
    const node = this.#tree.lookup(directory, name)
    if (node === undefined) throw new FileError('ENOENT')
    if (!node.isDirectory) throw new FileError('ENOTDIR')
    if (this.#tree.list(node).length > 0) throw new FileError('ENOTEMPTY')
    this.#remove(directory, name, node)
  }

  /** Says that `node` is open once more: its content outlives its name. Pair it with `release`. */
  retain(node: FileNode): void {
    node.holders++
  }

  /** Says that one descriptor of `node` was closed; the last one lets unlinked content go. */
  release(node: FileNode): void {
    assert(node.holders > 0, 'a node is released as often as it was retained')
    node.holders--
    if (node.holders === 0 && node.unlinked) this.#letGo(node)
  }

  /** Reads up to `length` bytes at `position`; returns how many there were. */
  read(
    node: FileNode,
    target: Uint8Array,
    targetOffset: number,
    length: number,
    position: number,
  ): number {
    this.#check()
    return this.#pages.read(node, target, targetOffset, length, position)
  }

  /** Writes all of it and returns `length`. Throws ENOSPC, EFBIG (2 GiB per file). */
  write(
    node: FileNode,
    source: Uint8Array,
    sourceOffset: number,
    length: number,
    position: number,
  ): number {
    this.#check()
    this.#disown(node)
    const grown = position + length - node.size
    this.#checkRoom(node, grown)
    this.#pages.write(node, source, sourceOffset, length, position)
    if (grown > 0) this.#setSize(node, position + length)
    node.modifiedMs = this.#clock.nowMs()
    this.#count(node)
    const { dirtyBytes } = this
    this.#room.noteDirty(dirtyBytes)
    if (dirtyBytes > this.midwayBytesMax || this.#room.isCommitDue) this.commitMidway()
    return length
  }

  /** Cuts or, with zeros, extends. Throws ENOSPC, EFBIG. */
  truncate(node: FileNode, size: number): void {
    this.#check()
    assert(Number.isSafeInteger(size) && size >= 0, 'a size is an unsigned integer')
    if (size === node.size) return
    this.#disown(node)
    if (size > CHUNKS_PER_INODE * node.chunkBytes) throw new FileError('EFBIG')
    if (size < node.size) this.#pages.cut(node, size)
    else this.#checkRoom(node, size - node.size)
    this.#setSize(node, size)
    node.modifiedMs = this.#clock.nowMs()
    this.#count(node)
  }

  setMode(node: FileNode, mode: number): void {
    this.#check()
    node.mode = withPermissions(node.mode, mode)
    this.#touch(node)
  }

  setModified(node: FileNode, modifiedMs: number): void {
    this.#check()
    node.modifiedMs = modifiedMs
    this.#touch(node)
  }

  /**
   * Makes everything that changed since the last commit the next version; undefined when nothing
   * did, or when these files are of the past or in memory. Throws DATABASE_TOO_LARGE, STORE_FENCED,
   * STORE_FULL, STORE_IO; these files are then `broken`.
   */
  commit(): Version | undefined {
    return this.#commit([])
  }

  /**
   * As {@link commit}, in the middle of a statement: a crash must find no relcache files in this
   * version. A transaction may have its commit record in it whose backend had yet to remove them.
   * The next commit brings them back.
   */
  commitMidway(): Version | undefined {
    return this.#commit(this.#tree.relcacheFiles())
  }

  #commit(hidden: readonly FileNode[]): Version | undefined {
    this.#check()
    if (!this.dirty) this.#walDirty = false
    if (this.#view === undefined || this.#view.readOnly || !this.dirty) return undefined
    try {
      this.#room.checkCommit(this.#tree.databaseBytes, this.#committedDatabaseBytes)
      for (const node of hidden) this.#dirtyNodes.delete(node)
      const changes = changesOf({
        changed: this.#dirtyNodes,
        gone: [...this.#leftStore, ...hidden],
        nextInode: this.#view.nextInode,
      })
      const version = this.#view.commit(changes)
      this.#afterCommit()
      for (const node of hidden) this.#touch(node)
      return version
    } catch (error) {
      this.#broken = error
      throw error
    }
  }

  /**
   * Whether anything is here that is neither in the store nor made again by Postgres: an unlinked
   * file that is held, a temporary file. Closing these files would lose it.
   */
  get irreplaceable(): boolean {
    return this.dirty || this.#tree.hasTemporaryFiles
  }

  /** Whether a table or an index is UNLOGGED: a recovery empties it. */
  get hasUnlogged(): boolean {
    return this.#tree.hasUnlogged
  }

  /** Lets clean pages go until `bytesMax` are left. */
  shrinkCache(bytesMax: number): void {
    this.#pages.cache.shrink(bytesMax)
  }

  /** Lets go of the view and of all memory. What was not committed is gone. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#room.noteDirty(0)
    this.#view?.[Symbol.dispose]()
    this.#pages.cache.clear()
    this.#dirtyNodes.clear()
    this.#leftStore.clear()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #check(): void {
    assert(!this.#closed, 'the files are open')
    if (this.#broken !== undefined) throw this.#broken
  }

  #mark(node: FileNode): void {
    this.#dirtyNodes.add(node)
    if (node.isWal) this.#walDirty = true
  }

  #count(node: FileNode): void {
    if (!node.ephemeral) this.#changeCount++
  }

  #touch(node: FileNode): void {
    node.recordDirty = true
    this.#count(node)
    if (!node.ephemeral && !node.unlinked) this.#mark(node)
  }

  #setSize(node: FileNode, size: number): void {
    this.#tree.countBytes(node, size - node.size)
    node.size = size
    this.#touch(node)
  }

  #checkRoom(node: FileNode, grownBytes: number): void {
    if (node.ephemeral || node.isWal) return
    if (grownBytes <= 0) {
      if (this.servesClient) this.#room.checkChange(node)
      return
    }
    this.#room.checkDatabase(node, grownBytes, this.#tree.databaseBytes)
    if (!this.starting) this.#room.checkDisk(node, grownBytes)
  }

  #remove(directory: FileNode, name: string, node: FileNode): void {
    this.#count(node)
    this.#tree.countBytes(node, -node.size)
    this.#tree.detach(directory, name, node, this.#clock.nowMs())
    if (node.isWal) this.#walDirty = true
    if (node.holders > 0) {
      if (this.#inStore(node)) this.#dirtyNodes.add(node)
    } else this.#letGo(node)
  }

  /** Nobody can reach this node any more. */
  #letGo(node: FileNode): void {
    assert(node.unlinked, 'what has a name stays')
    this.#pages.forget(node)
    this.#count(node)
    if (this.#inStore(node)) this.#dirtyNodes.add(node)
    else {
      this.#dirtyNodes.delete(node)
      this.#tree.forget(node)
    }
  }

  /** Whether the store, a lower layer or the template knows of this file. */
  #inStore(node: FileNode): boolean {
    if (node.ephemeral) return false
    return node.recorded || node.lower.length > 0 || node.template !== undefined
  }

  /** A relcache file that somebody has written to is not the template's any more. */
  #disown(node: FileNode): void {
    if (node.name !== RELCACHE_FILE || node.ephemeral || node.unlinked) return
    this.#count(node)
    this.#leaveStore(node)
  }

  #leaveStore(node: FileNode): void {
    this.#pages.takeAll(node)
    const known = this.#inStore(node)
    this.#tree.countBytes(node, -node.size)
    this.#dirtyNodes.delete(node)
    this.#pages.setEphemeral(node, true)
    if (known) this.#leftStore.add(node)
    node.storedChunks = 0
    node.baseBytes = 0
  }

  #enterStore(node: FileNode): void {
    this.#pages.setEphemeral(node, false)
    this.#tree.countBytes(node, node.size)
    // Rows of the time before it left may still be there.
    if (this.#leftStore.delete(node)) node.cutChunk = 0
  }

  #afterCommit(): void {
    for (const node of this.#leftStore) node.recorded = this.#hasBelow(node)
    for (const node of this.#dirtyNodes) {
      if (node.unlinked && node.holders === 0) this.#tree.forget(node)
      else this.#pages.committed(node)
    }
    this.#leftStore.clear()
    this.#dirtyNodes.clear()
    this.#walDirty = false
    this.#committedDatabaseBytes = this.#tree.databaseBytes
    assert(this.#pages.dirtyBytes === 0, 'a commit takes everything')
    this.#room.noteDirty(0)
  }

  #hasBelow(node: FileNode): boolean {
    return node.lower.length > 0 || this.#template.node(node.ino) !== undefined
  }
}
