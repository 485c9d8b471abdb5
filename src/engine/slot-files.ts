/**
 * PGDATA inside a slot: an Emscripten file system type that forwards to the files of whichever
 * tenant is in the slot. It holds no content of its own; changing tenants means forgetting the
 * names that Emscripten has cached and pointing at another tree.
 *
 * A store that fails under a page fault must not be taken for an error of Postgres's own: Postgres
 * is told EIO, and the real error is kept in `fault` for the slot to throw after the run.
 */
import { assert } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'
import type { InodeNo } from '../base/ids.ts'
import { RELCACHE_FILE } from '../store/file-tree.ts'
import {
  FileError,
  type FileLimit,
  type FileErrorName,
  type FileNode,
  type TenantFiles,
} from '../store/tenant-files.ts'
import { type Descriptor, SharedDescriptors } from './descriptors.ts'
import type { DirectoryEntry } from './directory-records.ts'
import { DatabaseName, type PageChecksum } from './database-name.ts'
import type {
  EmscriptenFs,
  EmscriptenModule,
  EmscriptenNode,
  EmscriptenStream,
} from './emscripten.ts'
import { mayHaveStoredSettings } from './stored-settings.ts'

export const PGDATA = '/pglite/data'
const COUNTERS_FILE = 'pgstat.stat'
/** What ALTER SYSTEM writes: beside it first, then renamed. */
export const SETTINGS_FILE = 'postgresql.auto.conf'

/** wasi-libc numbers of the errors that the tree can answer with. */
const ERRNO: Readonly<Record<FileErrorName, number>> = {
  EEXIST: 20,
  EFBIG: 22,
  EINVAL: 28,
  EISDIR: 31,
  ENOENT: 44,
  ENOSPC: 51,
  ENOTDIR: 54,
  ENOTEMPTY: 55,
  EXDEV: 75,
}
/** Descriptors below belong to the instance: stdio and the self-pipe. */
const FIRST_FILE_DESCRIPTOR = 5
/** What a library may keep open, and any instance can open again (uuid-ossp does). */
const DEVICES: readonly string[] = ['/dev/random', '/dev/urandom', '/dev/null']
const STATISTICS_FOLDER = 'pg_stat_tmp'
const EIO = 29
const ENODEV = 43
const EPERM = 63
const SEEK_CURRENT = 1
const SEEK_END = 2

/** Emscripten asks stat times for `getTime` only, so no Date object is made for each of them. */
class Moment {
  readonly #ms: number

  constructor(ms: number) {
    this.#ms = ms
  }

  getTime(): number {
    return this.#ms
  }
}

interface PgdataNode extends EmscriptenNode {
  file: FileNode
}

interface PgdataStream {
  readonly node: PgdataNode
  readonly position: number
}

/** For all slots of this thread: tenants go from one to another. */
const shared = new SharedDescriptors()

interface Attributes {
  readonly mode?: number | null
  readonly size?: number
  readonly mtime?: number | null
  readonly timestamp?: number
}

export class SlotFiles {
  /** The first error that a store raised under Postgres since the tenant was loaded. */
  fault: unknown = undefined
  /** ALTER SYSTEM has written since the tenant was loaded; that counts from the next start. */
  settingsChanged = false
  /** The tenant's files are a fork's: what is written is kept in memory and goes nowhere. */
  forked = false
  /**
   * Postgres is starting: it removes the relcache files, since after a crash of its machine they
   * may be of another moment than the catalogs, and makes them anew, which is a third of a start.
   * Here all files are of one moment, so what comes from the template is kept.
   */
  starting = false
  /** Files made, renamed or removed since the instance was made, temporary ones and WAL aside. */
  namesChanged = 0
  #metLimit: FileLimit | undefined
  readonly #dirtyBytesMax: number
  readonly #checksum: PageChecksum
  #database: DatabaseName | undefined
  #tenant: TenantFiles | undefined
  #module: EmscriptenModule | undefined
  #root: PgdataNode | undefined
  /** Those that Emscripten finds by their names. */
  readonly #nodes = new Set<EmscriptenNode>()
  readonly #listings = new WeakMap<EmscriptenStream, readonly DirectoryEntry[]>()

  /** @param dirtyBytesMax pages written and not committed; beyond, they are committed at once */
  constructor(dirtyBytesMax: number, checksum: PageChecksum) {
    this.#dirtyBytesMax = dirtyBytesMax
    this.#checksum = checksum
  }

  /** Mounts PGDATA. Called once, before the runtime of the module starts. */
  mount(module: EmscriptenModule, placeholder: TenantFiles): void {
    this.#module = module
    this.#tenant = placeholder
    module.FS.mkdirTree(PGDATA)
    const type = { mount: () => this.#node(null, '/', placeholder.root) }
    this.#root = module.FS.mount(type, {}, PGDATA) as PgdataNode
  }

  /**
   * Points PGDATA at another tenant, whose database is to go by that name. Open descriptors and
   * cached names of the last one are gone.
   */
  switchTo(tenant: TenantFiles, database: string): void {
    const fs = this.#fs
    const root = this.#root
    assert(root, 'PGDATA is mounted before a tenant is loaded')
    for (let fd = FIRST_FILE_DESCRIPTOR; fd < fs.streams.length; fd++) fs.streams[fd] = null
    for (const node of this.#nodes) fs.hashRemoveNode(node)
    this.#nodes.clear()
    this.#tenant = tenant
    this.#database = new DatabaseName(tenant, database)
    this.fault = undefined
    this.#metLimit = undefined
    this.settingsChanged = false
    this.forked = false
    root.file = tenant.root
  }

  /** By which name Postgres finds its database. Throws what the store throws. */
  get databaseName(): string {
    assert(this.#database, 'a tenant is loaded')
    return this.#database.text
  }

  /**
   * What is open now, but for what belongs to the instance; undefined if something outside PGDATA
   * is which cannot be opened again elsewhere.
   */
  descriptors(): readonly Descriptor[] | undefined {
    const found: Descriptor[] = []
    for (const [fd, stream] of this.#fs.streams.entries()) {
      if (!stream || fd < FIRST_FILE_DESCRIPTOR) continue
      const { flags, position, path } = stream
      if (stream.node.mount === this.#root?.mount) {
        const { ino } = (stream.node as PgdataNode).file
        found.push(shared.of({ fd, ino, flags, position }))
      } else if (DEVICES.includes(path)) {
        found.push(shared.of({ fd, ino: 0, device: path, flags, position }))
      } else {
        return undefined
      }
    }
    // An array that has grown has room for more.
    return found.slice()
  }

  /** Whether each of them can be opened over the files of `tenant`. */
  static fit(descriptors: readonly Descriptor[], tenant: TenantFiles): boolean {
    return descriptors.every(({ ino, device }) =>
      device === undefined ? tenant.fileOf(ino as InodeNo) : DEVICES.includes(device),
    )
  }

  /** Opens files of the tenant in here at the numbers they had, in this slot or another. */
  reopen(descriptors: readonly Descriptor[]): void {
    for (const descriptor of descriptors) this.#reopenDevice(descriptor)
    const files = descriptors.filter(({ device }) => device === undefined)
    const opened = files.map((descriptor) => {
      const file = this.#files.fileOf(descriptor.ino as InodeNo)
      assert(file, 'what was open is there')
      // The files may have stayed open while their tenant was in no slot, and be held from then.
      file.holders = 0
      return { ...descriptor, file }
    })
    for (const { file, ...descriptor } of opened) {
      const node = this.#detachedNode(file)
      this.#openStream(descriptor, node, node.name)
      this.#files.retain(file)
    }
  }

  /** A device is the same in every instance, and has no place in it. */
  #reopenDevice(descriptor: Descriptor): void {
    const { device } = descriptor
    if (device === undefined) return
    const { node } = this.#fs.lookupPath(device)
    const stream = this.#openStream(descriptor, node, device)
    const operations = node.stream_ops as { open(stream: EmscriptenStream): void }
    operations.open(stream)
  }

  #openStream(
    { fd, flags, position }: Descriptor,
    node: EmscriptenNode,
    path: string,
  ): EmscriptenStream {
    const { stream_ops } = node
    const state = { seekable: true, ungotten: [], error: false }
    return this.#fs.createStream({ node, path, flags, position, stream_ops, ...state }, fd)
  }

  /** A node for a descriptor: names are looked up anew, and the file may have none any more. */
  #detachedNode(file: FileNode): PgdataNode {
    assert(this.#root, 'PGDATA is mounted before a file is opened')
    const node = this.#newNode(this.#root, file.name, file)
    this.#fs.hashRemoveNode(node)
    return node
  }

  /**
   * Removes the counters of `pg_stat_*` that a shutdown has written. The pool carries them from
   * wake to wake itself, since they are lost in a crash; counted twice they would be wrong.
   */
  removeCounters(): void {
    const folder = this.#files.lookup(this.#files.root, 'pg_stat')
    if (folder && this.#files.lookup(folder, COUNTERS_FILE)) {
      this.#files.unlink(folder, COUNTERS_FILE)
    }
  }

  /**
   * Whether an extension has a file among the temporary statistics (pg_stat_statements, for texts):
   * memory says what is where in it, and it is neither stored nor in a fork.
   */
  get keepsStatistics(): boolean {
    const folder = this.#files.lookup(this.#files.root, STATISTICS_FOLDER)
    return folder !== undefined && this.#files.list(folder).length > 0
  }

  /** Which limit was met since this was last asked, and the tenant came. */
  takeMetLimit(): FileLimit | undefined {
    const met = this.#metLimit
    this.#metLimit = undefined
    return met
  }

  /** Throws what a store raised under Postgres, if anything. */
  throwFault(): void {
    if (this.fault !== undefined) throw this.fault
  }

  /**
   * Entries of an open folder of PGDATA; undefined for a folder elsewhere. Read once per
   * descriptor, as readdir(3) must not change its mind between two calls.
   */
  entriesOf(stream: EmscriptenStream): readonly DirectoryEntry[] | undefined {
    if (stream.node.mount !== this.#root?.mount) return undefined
    let entries = this.#listings.get(stream)
    if (!entries) {
      const { file } = stream.node as PgdataNode
      entries = this.#guard(() => this.#list(file))
      this.#listings.set(stream, entries)
    }
    return entries
  }

  #list(folder: FileNode): DirectoryEntry[] {
    const entries: DirectoryEntry[] = [
      { name: '.', ino: folder.ino, isDirectory: true },
      { name: '..', ino: folder.ino, isDirectory: true },
    ]
    for (const name of this.#files.list(folder)) {
      const file = this.#files.lookup(folder, name)
      if (file) entries.push({ name, ino: file.ino, isDirectory: file.isDirectory })
    }
    return entries
  }

  /** See `stored-settings.ts`. */
  get mayHaveStoredSettings(): boolean {
    return mayHaveStoredSettings(this.#files)
  }

  get #fs(): EmscriptenFs {
    assert(this.#module, 'PGDATA is mounted before it is used')
    return this.#module.FS
  }

  get #files(): TenantFiles {
    assert(this.#tenant, 'a tenant is loaded')
    return this.#tenant
  }

  #node(parent: EmscriptenNode | null, name: string, file: FileNode): PgdataNode {
    const node = this.#newNode(parent, name, file)
    if (parent) this.#nodes.add(node)
    return node
  }

  #newNode(parent: EmscriptenNode | null, name: string, file: FileNode): PgdataNode {
    const node = this.#fs.createNode(parent, name, file.mode, 0) as PgdataNode
    node.file = file
    node.node_ops = file.isDirectory ? this.#directoryOperations : this.#fileOperations
    node.stream_ops = file.isDirectory ? this.#directoryStream : this.#fileStream
    return node
  }

  /** Runs `action`; what it throws reaches Postgres as an errno. */
  #guard<Result>(action: () => Result): Result {
    try {
      return action()
    } catch (error) {
      const { ErrnoError } = this.#fs
      if (error instanceof ErrnoError) throw error
      if (error instanceof FileError) {
        this.#metLimit = error.met ?? this.#metLimit
        throw new ErrnoError(ERRNO[error.errno])
      }
      this.fault ??= error
      throw new ErrnoError(EIO)
    }
  }

  /** A fork has nowhere to commit to: what wants to write so much is not for it. */
  #makeRoom(files: TenantFiles): void {
    if (!this.forked) return void files.commitMidway()
    throw new PgnapError('SLOT_MEMORY_EXHAUSTED', 'a fork has no room for what was written in it')
  }

  #isKept(file: FileNode): boolean {
    return this.starting && file.name === RELCACHE_FILE && !file.ephemeral
  }

  /** The node of a name that Emscripten forgets. A tenant that stays makes names without end. */
  #forgetName(parent: EmscriptenNode, name: string): EmscriptenNode {
    const node = this.#fs.lookupNode(parent, name)
    this.#nodes.delete(node)
    return node
  }

  #noteName(file: FileNode): void {
    if (!file.ephemeral && !file.isWal) this.namesChanged++
  }

  #fail(errno: number): never {
    throw new this.#fs.ErrnoError(errno)
  }

  readonly #fileOperations: object = {
    getattr: ({ file }: PgdataNode) => {
      const moment = new Moment(file.modifiedMs)
      return {
        dev: 1,
        ino: file.ino,
        mode: file.mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: file.isDirectory ? 4096 : file.size,
        atime: moment,
        mtime: moment,
        ctime: moment,
        blksize: 4096,
        blocks: Math.ceil(file.size / 512),
      }
    },
    setattr: (node: PgdataNode, attributes: Attributes) =>
      this.#guard(() => {
        const { mode, size } = attributes
        const modified = attributes.mtime ?? attributes.timestamp
        if (mode !== undefined && mode !== null) {
          this.#files.setMode(node.file, mode)
          node.mode = node.file.mode
        }
        if (size !== undefined) this.#files.truncate(node.file, size)
        if (modified !== undefined && modified !== null) {
          this.#files.setModified(node.file, Number(modified))
        }
      }),
  }

  readonly #directoryOperations: object = {
    ...this.#fileOperations,
    lookup: (parent: PgdataNode, name: string) =>
      this.#guard(() => {
        const file = this.#files.lookup(parent.file, name)
        return file ? this.#node(parent, name, file) : this.#fail(ERRNO.ENOENT)
      }),
    mknod: (parent: PgdataNode, name: string, mode: number) =>
      this.#guard(() => {
        if (!this.#fs.isDir(mode) && !this.#fs.isFile(mode)) this.#fail(EPERM)
        const file = this.#files.create(parent.file, name, mode)
        this.#noteName(file)
        return this.#node(parent, name, file)
      }),
    rename: (node: PgdataNode, directory: PgdataNode, name: string) =>
      this.#guard(() => {
        const from = node.parent as PgdataNode
        const replaces = this.#files.lookup(directory.file, name) !== undefined
        this.#files.rename(node.file, from.file, node.name, directory.file, name)
        this.#noteName(node.file)
        // Emscripten leaves a replaced node in its name table; it would come back after an unlink.
        if (replaces) this.#fs.destroyNode(this.#forgetName(directory, name))
        node.name = name
        if (name === SETTINGS_FILE && directory === this.#root) this.settingsChanged = true
      }),
    unlink: (parent: PgdataNode, name: string) =>
      this.#guard(() => {
        const file = this.#files.lookup(parent.file, name)
        const isKept = file !== undefined && this.#isKept(file)
        if (!isKept) this.#files.unlink(parent.file, name)
        this.#forgetName(parent, name)
        if (file && !isKept) this.#noteName(file)
      }),
    rmdir: (parent: PgdataNode, name: string) =>
      this.#guard(() => {
        this.#files.removeDirectory(parent.file, name)
        this.#forgetName(parent, name)
        this.namesChanged++
      }),
    readdir: (node: PgdataNode) => this.#guard(() => ['.', '..', ...this.#files.list(node.file)]),
    symlink: () => this.#fail(EPERM),
  }

  /** Without llseek, readdir() fails with "Invalid seek". */
  readonly #directoryStream: object = {
    llseek: (stream: PgdataStream, offset: number, whence: number) =>
      whence === SEEK_CURRENT ? stream.position + offset : offset,
  }

  readonly #fileStream: object = {
    // A file that is unlinked while it is open keeps its content until it is closed.
    open: ({ node }: PgdataStream) => this.#files.retain(node.file),
    dup: ({ node }: PgdataStream) => this.#files.retain(node.file),
    close: ({ node }: PgdataStream) => this.#files.release(node.file),
    // A store commit is atomic as a whole, so there is nothing for fsync to order.
    fsync: () => 0,
    read: (s: PgdataStream, into: ArrayBufferView, offset: number, length: number, at: number) =>
      this.#guard(() => {
        const { file } = s.node
        const memory = this.#bytes(into)
        const bytes = this.#files.read(file, memory, offset, length, at)
        if (this.#database?.isSaidIn(file)) {
          this.#database.putInto(file, memory, { at: offset, bytes, position: at }, this.#checksum)
        }
        return bytes
      }),
    write: (s: PgdataStream, from: ArrayBufferView, offset: number, length: number, at: number) =>
      this.#guard(() => {
        const files = this.#files
        const count = files.write(s.node.file, this.#bytes(from), offset, length, at)
        // One statement may write more than memory holds. A commit between two writes is what a
        // crash would leave behind, and Postgres recovers from that; nothing is acknowledged by it.
        if (files.dirtyBytes > this.#dirtyBytesMax) this.#makeRoom(files)
        return count
      }),
    llseek: (stream: PgdataStream, offset: number, whence: number) => {
      let position = offset
      if (whence === SEEK_CURRENT) position += stream.position
      else if (whence === SEEK_END) position += stream.node.file.size
      return position < 0 ? this.#fail(ERRNO.EINVAL) : position
    },
    mmap: () => this.#fail(ENODEV),
    msync: () => 0,
  }

  /** Emscripten hands over its HEAP8, an Int8Array from the start of memory. */
  #bytes(view: ArrayBufferView): Uint8Array {
    if (view instanceof Uint8Array) return view
    const heap = this.#module?.HEAPU8
    if (heap && view.byteOffset === 0 && view.buffer === heap.buffer) return heap
    return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  }
}
