/**
 * Contents of files, chunk by chunk: what is dirty, what is cached, and where the rest comes from.
 *
 * A chunk is looked for in the node's dirty map, the clean cache, the layer's own rows, the rows of
 * each lower layer whose record lets that byte show through, the template, and is zeros otherwise.
 * Writes go to the dirty map only; a full chunk equal to what is known to be there is dropped,
 * which is what keeps a commit small: Postgres rewrites whole blocks of WAL of which little
 * changes.
 *
 * Chunks come one by one, except those of WAL: crash recovery reads segments from their start, so a
 * miss there fetches a run in one SELECT. For scans of a heap that was measured and does not pay (5
 * to 8 us per page with runs of 16, 6.5 without).
 */
import { assert } from '../base/assert.ts'
import { isPrefix, trimmedLength } from '../base/bytes.ts'
import type { PageKey } from '../base/ids.ts'
import { FileError } from './file-node.ts'
import type { FileNode } from './file-node.ts'
import { CHUNKS_PER_INODE, chunkKey, chunkOfChunkKey } from './keys.ts'
import { PageCache } from './page-cache.ts'
import type { FileView } from './view.ts'

/**
 * Chunks of WAL fetched at once: few for a start that only looks for its checkpoint, more for a
 * recovery, which reads on from there.
 */
const WAL_FETCH_CHUNKS_FIRST = 2
const WAL_FETCH_CHUNKS_MAX = 64
const EMPTY = new Uint8Array(0)

export interface FilePagesOptions {
  readonly view: FileView | undefined
  readonly cacheBytesMax: number
  /** Bytes of files that never reach the store. Beyond: ENOSPC. */
  readonly ephemeralBytesMax: number
  /** Called when a chunk of a persistent file becomes dirty. */
  readonly onDirty: (node: FileNode) => void
}

/** What the pages of one tenant take in memory, in bytes. */
export interface HeldBytes {
  /** Clean pages. */
  readonly cacheBytes: number
  /** With those that have changed, and those of temporary files. */
  readonly totalBytes: number
}

export class FilePages {
  readonly cache: PageCache
  /** Bytes changed since the last commit that the next one will write. */
  dirtyBytes = 0
  /** Bytes of ephemeral files. */
  ephemeralBytes = 0
  /** Bytes of WAL written since the files were opened. */
  walBytesWritten = 0
  /** How often the store was asked for chunks. */
  fetchCount = 0
  readonly #options: FilePagesOptions
  /** The chunks of WAL that were fetched last. */
  #lastWalRun = { ino: 0, end: 0, count: 0 }

  constructor(options: FilePagesOptions) {
    this.#options = options
    this.cache = new PageCache(options.cacheBytesMax)
  }

  /** Copies up to `length` bytes at `position` into `target`; returns how many there were. */
  read(
    node: FileNode,
    target: Uint8Array,
    targetOffset: number,
    length: number,
    position: number,
  ): number {
    const total = Math.min(length, node.size - position)
    if (total <= 0) return 0
    const { chunkBytes } = node
    let done = 0
    while (done < total) {
      const at = position + done
      const chunk = Math.floor(at / chunkBytes)
      const offset = at - chunk * chunkBytes
      const count = Math.min(chunkBytes - offset, total - done)
      const content = this.chunk(node, chunk)
      const present = Math.max(0, Math.min(count, content.length - offset))
      const into = targetOffset + done
      if (present > 0) {
        const whole = offset === 0 && present === content.length
        target.set(whole ? content : content.subarray(offset, offset + present), into)
      }
      if (present < count) target.fill(0, into + present, into + count)
      done += count
    }
    return total
  }

  /** Writes `length` bytes at `position`, growing the file as needed; returns `length`. */
  write(
    node: FileNode,
    source: Uint8Array,
    sourceOffset: number,
    length: number,
    position: number,
  ): number {
    const { chunkBytes } = node
    if (position + length > CHUNKS_PER_INODE * chunkBytes) throw new FileError('EFBIG')
    let done = 0
    while (done < length) {
      const at = position + done
      const chunk = Math.floor(at / chunkBytes)
      const offset = at - chunk * chunkBytes
      const count = Math.min(chunkBytes - offset, length - done)
      const from = sourceOffset + done
      const bytes = source.subarray(from, from + count)
      if (count === chunkBytes) this.#writeWhole(node, chunk, bytes)
      else this.#writable(node, chunk).set(bytes, offset)
      done += count
    }
    return length
  }

  /** Forgets content from `size` on, for a file that gets shorter. The caller sets the size. */
  cut(node: FileNode, size: number): void {
    assert(size <= node.size, 'cutting makes shorter')
    const { chunkBytes } = node
    const keptChunks = Math.ceil(size / chunkBytes)
    if (size % chunkBytes !== 0) {
      const last = this.chunk(node, keptChunks - 1)
      const kept = size % chunkBytes
      if (last.length > kept) this.#writable(node, keptChunks - 1).fill(0, kept)
    }
    if (node.dirty !== undefined) {
      for (const chunk of node.dirty.keys()) if (chunk >= keptChunks) this.#clean(node, chunk)
    }
    const endChunk = Math.ceil(node.size / chunkBytes)
    this.cache.deleteRange(chunkKey(node.ino, keptChunks), chunkKey(node.ino, endChunk))
    if (keptChunks < node.storedChunks) {
      node.storedChunks = keptChunks
      node.cutChunk = Math.min(node.cutChunk, keptChunks)
    }
    node.baseBytes = Math.min(node.baseBytes, size)
    node.walChunks = Math.min(node.walChunks, keptChunks)
  }

  /** Content of one chunk, possibly without its trailing zeros. Not to be changed. */
  chunk(node: FileNode, chunk: number): Uint8Array {
    const dirty = node.dirty?.get(chunk)
    if (dirty !== undefined) return dirty
    const needsStore = chunk < node.storedChunks || node.lower.length > 0
    if (!needsStore) return this.#fromTemplate(node, chunk, node.baseBytes)
    const cached = this.cache.get(chunkKey(node.ino, chunk))
    if (cached !== undefined) return cached
    this.fetchCount++
    const left = Math.ceil(node.size / node.chunkBytes) - chunk
    const count = node.isWal ? Math.min(this.#walRun(node, chunk), left) : 1
    const content = count > 1 ? this.#fetchRun(node, chunk, count) : this.#fetch(node, chunk)
    this.cache.put(chunkKey(node.ino, chunk), content)
    return content
  }

  /** How many chunks to fetch from `chunk` on: twice as many as those that it follows. */
  #walRun(node: FileNode, chunk: number): number {
    const { ino, end, count } = this.#lastWalRun
    const goesOn = ino === node.ino && end === chunk
    const next = goesOn ? Math.min(count * 2, WAL_FETCH_CHUNKS_MAX) : WAL_FETCH_CHUNKS_FIRST
    this.#lastWalRun = { ino: node.ino, end: chunk + next, count: next }
    return next
  }

  /** Takes all chunks of a node into its dirty map, for a file whose rows are about to go. */
  takeAll(node: FileNode): void {
    for (let chunk = 0; chunk * node.chunkBytes < node.size; chunk++) {
      if (this.chunk(node, chunk).length > 0) this.#writable(node, chunk)
    }
    this.cache.deleteRange(chunkKey(node.ino, 0), chunkKey(node.ino, CHUNKS_PER_INODE))
  }

  get held(): HeldBytes {
    const { cache, dirtyBytes, ephemeralBytes } = this
    const cacheBytes = cache.bytes
    return { cacheBytes, totalBytes: cacheBytes + dirtyBytes + ephemeralBytes }
  }

  /** Moves a node's changed bytes from one account to the other, when it becomes (un)ephemeral. */
  setEphemeral(node: FileNode, ephemeral: boolean): void {
    if (node.ephemeral === ephemeral) return
    this.#account(node, -node.dirtyBytes)
    node.ephemeral = ephemeral
    this.#account(node, node.dirtyBytes)
  }

  /** Forgets everything that is in memory of a node. */
  forget(node: FileNode): void {
    this.#account(node, -node.dirtyBytes)
    node.dirty = undefined
    this.cache.deleteRange(chunkKey(node.ino, 0), chunkKey(node.ino, CHUNKS_PER_INODE))
  }

  /** After a commit: what was dirty is now clean. */
  committed(node: FileNode): void {
    this.#account(node, -node.dirtyBytes)
    for (const [chunk, bytes] of node.dirty ?? []) this.cache.put(chunkKey(node.ino, chunk), bytes)
    node.dirty = undefined
    node.recorded = true
    node.recordDirty = false
    node.cutChunk = Infinity
    node.storedChunks = Math.max(node.storedChunks, Math.ceil(node.size / node.chunkBytes))
  }

  #writeWhole(node: FileNode, chunk: number, bytes: Uint8Array): void {
    const dirty = node.dirty?.get(chunk)
    if (dirty !== undefined) {
      dirty.set(bytes)
      this.#countWal(node, chunk)
      return
    }
    // Fetching the old content only to compare would cost more than writing; known content is free.
    const inStore = chunk < node.storedChunks || node.lower.length > 0
    const known = inStore
      ? this.cache.get(chunkKey(node.ino, chunk))
      : this.#fromTemplate(node, chunk, node.baseBytes)
    if (known !== undefined && isPrefix(known, bytes) && trimmedLength(bytes) <= known.length)
      return
    this.#setDirty(node, chunk, bytes.slice())
  }

  #writable(node: FileNode, chunk: number): Uint8Array {
    const dirty = node.dirty?.get(chunk)
    if (dirty !== undefined) return dirty
    const copy = new Uint8Array(node.chunkBytes)
    copy.set(this.chunk(node, chunk))
    this.#setDirty(node, chunk, copy)
    return copy
  }

  #setDirty(node: FileNode, chunk: number, bytes: Uint8Array): void {
    assert(bytes.length === node.chunkBytes, 'a dirty chunk has its full length')
    const { ephemeralBytesMax, onDirty } = this.#options
    if (node.ephemeral && this.ephemeralBytes + bytes.length > ephemeralBytesMax) {
      throw new FileError('ENOSPC', 'temporary')
    }
    node.dirty ??= new Map()
    assert(!node.dirty.has(chunk), 'a chunk becomes dirty once')
    node.dirty.set(chunk, bytes)
    this.cache.delete(chunkKey(node.ino, chunk))
    this.#account(node, bytes.length)
    this.#countWal(node, chunk)
    if (!node.ephemeral) onDirty(node)
  }

  #clean(node: FileNode, chunk: number): void {
    if (node.dirty?.delete(chunk) === true) this.#account(node, -node.chunkBytes)
  }

  #account(node: FileNode, bytes: number): void {
    if (node.ephemeral) this.ephemeralBytes += bytes
    else this.dirtyBytes += bytes
    assert(this.dirtyBytes >= 0 && this.ephemeralBytes >= 0, 'bytes are counted once')
  }

  #countWal(node: FileNode, chunk: number): void {
    if (!node.isWal || chunk < node.walChunks) return
    this.walBytesWritten += (chunk + 1 - node.walChunks) * node.chunkBytes
    node.walChunks = chunk + 1
  }

  #fetch(node: FileNode, chunk: number): Uint8Array {
    const { view } = this.#options
    assert(view !== undefined, 'a file with rows has a store')
    const key = chunkKey(node.ino, chunk)
    if (chunk < node.storedChunks) {
      const own = view.read(key)
      if (own !== undefined) return this.#checked(node, own)
    }
    const at = chunk * node.chunkBytes
    let visibleBytes = node.baseBytes
    for (const { level, record, keys } of node.lower) {
      if (at >= visibleBytes) break
      if (at < record.sizeBytes && (keys === undefined || keys.has(key))) {
        const content = view.read(key, level)
        if (content !== undefined) return this.#checked(node, content)
      }
      visibleBytes = Math.min(visibleBytes, record.baseBytes)
    }
    return this.#fromTemplate(node, chunk, visibleBytes)
  }

  /** Fetches `count` chunks from `first` on into the cache; returns the first. */
  #fetchRun(node: FileNode, first: number, count: number): Uint8Array {
    const { view } = this.#options
    assert(view !== undefined, 'a file with rows has a store')
    const found = new Map<number, Uint8Array>()
    const take = (rows: ReturnType<FileView['readRange']>): void => {
      for (const [key, content] of rows) {
        const chunk = chunkOfChunkKey(key)
        if (!found.has(chunk)) found.set(chunk, this.#checked(node, content))
      }
    }
    const range = (end: number): { from: PageKey; to: PageKey } => ({
      from: chunkKey(node.ino, first),
      to: chunkKey(node.ino, end),
    })
    const ownEnd = Math.min(first + count, node.storedChunks)
    if (ownEnd > first) take(view.readRange(range(ownEnd)))
    let visibleBytes = node.baseBytes
    for (const { level, record } of node.lower) {
      const seenBytes = Math.min(visibleBytes, record.sizeBytes)
      const end = Math.min(first + count, Math.ceil(seenBytes / node.chunkBytes))
      if (end > first && found.size < count) take(view.readRange(range(end), level))
      visibleBytes = Math.min(visibleBytes, record.baseBytes)
    }
    for (let chunk = first + count - 1; chunk > first; chunk--) {
      const key = chunkKey(node.ino, chunk)
      if (node.dirty?.has(chunk) === true || this.cache.has(key)) continue
      this.cache.put(key, found.get(chunk) ?? this.#fromTemplate(node, chunk, visibleBytes))
    }
    return found.get(first) ?? this.#fromTemplate(node, first, visibleBytes)
  }

  #fromTemplate(node: FileNode, chunk: number, visibleBytes: number): Uint8Array {
    const at = chunk * node.chunkBytes
    const { template } = node
    if (!template || at >= visibleBytes || at >= template.dataBytes) return EMPTY
    return template.content(at, Math.min(at + node.chunkBytes, visibleBytes, template.dataBytes))
  }

  #checked(node: FileNode, content: Uint8Array): Uint8Array {
    assert(content.length <= node.chunkBytes, 'a stored chunk fits its file')
    return content
  }
}
