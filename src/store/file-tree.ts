/**
 * Names and nodes of one tenant's tree: the template, and over it what the store's records say.
 *
 * A directory keeps only the names in which it differs from the template (`overlay`), and a node
 * exists only once somebody has looked at it, so opening costs what was changed and not what is
 * there.
 */
import { assert } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'
import type { InodeNo } from '../base/ids.ts'
import { FileError, FileNode, PAGE_BYTES, ROOT_INODE, WAL_CHUNK_BYTES } from './file-node.ts'
import { WAL_DIRECTORY, isDirectoryMode } from './file-node.ts'
import { FIRST_TENANT_INODE, INODES_MAX } from './keys.ts'
import type { Template, TemplateNode } from './template.ts'
import { corrupt } from './varint.ts'
import type { LevelRecord, FileView } from './view.ts'

/**
 * relcache.c: what a backend must know of the system catalogs before it can read them, written by
 * whichever finds it missing, removed by whichever changes it. One lies in `global`, one in the
 * folder of each database.
 */
export const RELCACHE_FILE = 'pg_internal.init'
/**
 * Of meaning only to a live process, or made again by it when it is missing: a relcache file would
 * be 150 KB of every tenant, so only the template's, which all share, outlives its writer.
 */
const EPHEMERAL_NAME = /^(postmaster\.(pid|opts)|pgsql_tmp.*|pg_internal\.init.*)$/
/** The directory itself must exist when Postgres starts; what is in it is ephemeral. */
const EPHEMERAL_DIRECTORY = 'pg_stat_tmp'

const TEMPORARY_NAME = /^pgsql_tmp/
/** relpath.c: what an UNLOGGED relation is made of after a crash. */
const INIT_FORK_SUFFIX = '_init'

function isTemporary(node: FileNode): boolean {
  return node.ephemeral && !node.isDirectory && TEMPORARY_NAME.test(node.name)
}

export class FileTree {
  readonly root: FileNode
  /** Files that were unlinked while open by somebody who never came back to let them go. */
  readonly orphans: readonly FileNode[]
  /** Sizes of all files but WAL and ephemeral ones. */
  databaseBytes: number
  readonly #template: Template
  readonly #view: FileView | undefined
  readonly #records: ReadonlyMap<InodeNo, readonly LevelRecord[]>
  readonly #overlays = new Map<InodeNo, Map<string, InodeNo | null>>()
  readonly #nodes = new Map<InodeNo, FileNode>()
  /** Initialization forks, as folder and name: there is one per table or index without WAL. */
  readonly #initForks = new Set<string>()
  #nextInode: InodeNo
  /** When all numbers have been given out: those below have been looked at. */
  #lookedAt: InodeNo = FIRST_TENANT_INODE

  constructor(template: Template, view: FileView | undefined) {
    this.#template = template
    this.#view = view
    this.#records = view?.records() ?? new Map()
    this.#nextInode = view?.nextInode ?? FIRST_TENANT_INODE
    this.databaseBytes = template.databaseBytes
    const orphans: InodeNo[] = []
    // First all names of the template that a record may have moved, then all names of records: two
    // files may have swapped theirs.
    for (const inode of this.#records.keys()) {
      const below = template.node(inode)
      if (below !== undefined) this.#setName(below.parent, below.name, null)
    }
    for (const [inode, levels] of this.#records) {
      const entry = levels[0]
      assert(entry !== undefined, 'a record is of some level')
      const { record } = entry
      if (record.parent !== 0) this.#setName(record.parent, record.name, inode)
      else if (record.sizeBytes > 0 && view?.owns(entry) === true) orphans.push(inode)
      const below = template.node(inode)
      if (below !== undefined && !template.isWal(below)) this.databaseBytes -= below.sizeBytes
      const counts = record.parent !== 0 && record.chunkBytes !== WAL_CHUNK_BYTES
      if (counts) this.databaseBytes += record.sizeBytes
    }
    this.root = this.#node(ROOT_INODE)
    this.orphans = view?.readOnly === true ? [] : orphans.map((inode) => this.#orphan(inode))
  }

  lookup(directory: FileNode, name: string): FileNode | undefined {
    if (!directory.isDirectory) throw new FileError('ENOTDIR')
    const changed = directory.overlay?.get(name)
    if (changed === null) return undefined
    const inode = changed ?? directory.template?.children?.get(name)
    return inode === undefined ? undefined : this.#node(inode)
  }

  fileOf(inode: InodeNo): FileNode | undefined {
    const exists =
      this.#nodes.has(inode) || this.#records.has(inode) || this.#template.node(inode) !== undefined
    return exists ? this.#node(inode) : undefined
  }

  /** Whether a table or an index is UNLOGGED: a recovery empties it. */
  get hasUnlogged(): boolean {
    return this.#initForks.size > 0
  }

  /** Files of statements or cursors that are not over, and files that only a descriptor holds. */
  get hasTemporaryFiles(): boolean {
    for (const node of this.#nodes.values()) {
      if (node.unlinked ? node.holders > 0 : isTemporary(node)) return true
    }
    return false
  }

  /** The relcache files that come from the template. */
  relcacheFiles(): readonly FileNode[] {
    const below = (directory: FileNode | undefined, name: string): FileNode | undefined =>
      directory && this.lookup(directory, name)
    const databases = below(this.root, 'base')
    const folders = databases ? this.list(databases).map((name) => below(databases, name)) : []
    return [below(this.root, 'global'), ...folders]
      .map((folder) => (folder?.isDirectory ? below(folder, RELCACHE_FILE) : undefined))
      .filter((file): file is FileNode => file?.ephemeral === false)
  }

  list(directory: FileNode): string[] {
    if (!directory.isDirectory) throw new FileError('ENOTDIR')
    const names: string[] = []
    const { overlay } = directory
    for (const name of directory.template?.children?.keys() ?? []) {
      if (overlay?.has(name) !== true) names.push(name)
    }
    for (const [name, inode] of overlay ?? []) if (inode !== null) names.push(name)
    return names
  }

  create(directory: FileNode, name: string, mode: number, nowMs: number): FileNode {
    if (this.lookup(directory, name) !== undefined) throw new FileError('EEXIST')
    assert(!directory.unlinked, 'nothing is made in a directory that is gone')
    const ino = this.#newInode()
    const inWal = !isDirectoryMode(mode) && this.#isWalDirectory(directory)
    const node = new FileNode({
      ino,
      parent: directory.ino,
      name,
      mode,
      size: 0,
      modifiedMs: nowMs,
      baseBytes: 0,
      chunkBytes: inWal ? WAL_CHUNK_BYTES : PAGE_BYTES,
      template: undefined,
      recorded: false,
      ephemeral: this.isEphemeralName(directory, name),
    })
    this.#nodes.set(ino, node)
    this.#rename(directory, name, ino, nowMs)
    return node
  }

  /** Throws unless `node` may be moved into `directory` over `target`. */
  checkRename(node: FileNode, directory: FileNode, target: FileNode | undefined): void {
    if (!directory.isDirectory) throw new FileError('ENOTDIR')
    for (let up: FileNode | undefined = directory; up !== undefined; up = this.#parentOf(up)) {
      if (up === node) throw new FileError('EINVAL')
    }
    if (target === undefined) return
    if (target.isDirectory && !node.isDirectory) throw new FileError('EISDIR')
    if (!target.isDirectory && node.isDirectory) throw new FileError('ENOTDIR')
    if (target.isDirectory && this.list(target).length > 0) throw new FileError('ENOTEMPTY')
  }

  move(
    node: FileNode,
    fromDirectory: FileNode,
    fromName: string,
    toDirectory: FileNode,
    toName: string,
    nowMs: number,
  ): void {
    this.#rename(fromDirectory, fromName, null, nowMs)
    this.#rename(toDirectory, toName, node.ino, nowMs)
    node.parent = toDirectory.ino
    node.name = toName
  }

  /** Takes a name out of the tree; its node stays until it is forgotten. */
  detach(directory: FileNode, name: string, node: FileNode, nowMs: number): void {
    assert(!node.unlinked, 'a node leaves the tree once')
    this.#rename(directory, name, null, nowMs)
    node.unlinked = true
    node.recordDirty = true
  }

  forget(node: FileNode): void {
    assert(node.unlinked, 'what has a name stays')
    this.#nodes.delete(node.ino)
  }

  isEphemeralName(directory: FileNode, name: string): boolean {
    return (
      directory.ephemeral || directory.name === EPHEMERAL_DIRECTORY || EPHEMERAL_NAME.test(name)
    )
  }

  /** Counts bytes that a node gained, if they count. */
  countBytes(node: FileNode, bytes: number): void {
    if (!node.ephemeral && !node.isWal && !node.unlinked) this.databaseBytes += bytes
  }

  /**
   * A number that no file has: as long as there are any, one that none has ever had. Each megabyte
   * of WAL takes one, each temporary table a few; a busy tenant has had all of them in months. A
   * file at another version may have had one that is used again, as at another version a page has
   * another content.
   */
  #newInode(): InodeNo {
    if (this.#nextInode < INODES_MAX) {
      const ino = this.#nextInode
      this.#nextInode = (ino + 1) as InodeNo
      return ino
    }
    while (this.#lookedAt < INODES_MAX) {
      const ino = this.#lookedAt
      this.#lookedAt = (ino + 1) as InodeNo
      if (!this.#records.has(ino) && !this.#nodes.has(ino)) return ino
    }
    throw new PgnapError('STORE_FULL', 'this tenant has used up its inode numbers', {
      hint: 'close its connections and try again, or drop tables',
    })
  }

  #parentOf(node: FileNode): FileNode | undefined {
    return node.parent === 0 ? undefined : this.#node(node.parent)
  }

  #rename(directory: FileNode, name: string, inode: InodeNo | null, nowMs: number): void {
    this.#setName(directory.ino, name, inode)
    directory.overlay ??= this.#overlays.get(directory.ino)
    directory.modifiedMs = nowMs
  }

  #setName(directory: InodeNo | 0, name: string, inode: InodeNo | null): void {
    if (directory === 0) return
    let overlay = this.#overlays.get(directory)
    if (overlay === undefined) this.#overlays.set(directory, (overlay = new Map()))
    // A name that the template has not got needs no whiteout: a busy directory would collect them.
    const inTemplate = this.#template.node(directory)?.children?.has(name) === true
    if (inode === null && !inTemplate) overlay.delete(name)
    else overlay.set(name, inode)
    if (!name.endsWith(INIT_FORK_SUFFIX)) return
    if (inode === null) this.#initForks.delete(`${directory}/${name}`)
    else this.#initForks.add(`${directory}/${name}`)
  }

  #isWalDirectory(directory: FileNode): boolean {
    return directory.name === WAL_DIRECTORY && directory.parent === ROOT_INODE
  }

  #node(inode: InodeNo): FileNode {
    const known = this.#nodes.get(inode)
    if (known !== undefined) return known
    const levels = this.#records.get(inode)
    const below = this.#template.node(inode)
    const node = levels === undefined ? this.#fromTemplate(below) : this.#fromRecords(inode, levels)
    if (node === undefined) throw corrupt(`a name leads to inode ${inode}, which does not exist`)
    node.overlay = this.#overlays.get(inode)
    this.#nodes.set(inode, node)
    return node
  }

  #fromTemplate(below: TemplateNode | undefined): FileNode | undefined {
    if (below === undefined) return undefined
    return new FileNode({
      ino: below.inode,
      parent: below.parent,
      name: below.name,
      mode: below.mode,
      size: below.sizeBytes,
      modifiedMs: below.modifiedMs,
      baseBytes: below.sizeBytes,
      chunkBytes: this.#template.isWal(below) ? WAL_CHUNK_BYTES : PAGE_BYTES,
      template: below,
      recorded: false,
      ephemeral: false,
    })
  }

  #fromRecords(inode: InodeNo, levels: readonly LevelRecord[]): FileNode | undefined {
    const entry = levels[0]
    if (entry === undefined) return undefined
    const { record } = entry
    const own = this.#view?.owns(entry) === true
    return new FileNode({
      ino: inode,
      parent: record.parent,
      name: record.name,
      mode: record.mode,
      size: record.sizeBytes,
      modifiedMs: record.modifiedMs,
      // Where the layer has no record yet, all of the file below shows through.
      baseBytes: own ? record.baseBytes : record.sizeBytes,
      chunkBytes: record.chunkBytes,
      template: this.#template.node(inode),
      lower: own ? levels.slice(1) : levels,
      recorded: own,
      ephemeral: false,
    })
  }

  #orphan(inode: InodeNo): FileNode {
    const node = this.#node(inode)
    node.unlinked = true
    return node
  }
}
