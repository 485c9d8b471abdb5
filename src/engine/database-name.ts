/**
 * Lets a database go by the name of its tenant. Nothing of that is written: its files say
 * `postgres` (`database-pages.ts`), and whenever Postgres reads one of the pages that say so, the
 * name that the tenant has now is put into it. So a new tenant costs nothing more, one that is
 * older than this has its name when it next wakes, and one whose file was renamed has the new one.
 * What Postgres writes of these pages itself says the name it read; that is a former name then.
 *
 * So does the WAL. If a file was renamed and its tenant has to recover, the former name may be in
 * memory after that, where nobody reads it from a file: {@link FormerNames} tells, and Postgres has
 * to be started once more, on what recovery has written.
 *
 * Which files they are is looked up: VACUUM FULL and REINDEX put others in their place.
 *
 * Source: Postgres 18, relmapper.c (RelMapFile), checksum_impl.h; pg_database.h (object ids).
 */
import { assert } from '../base/assert.ts'
import { equalBytes } from '../base/bytes.ts'
import { PAGE_BYTES } from '../store/file-node.ts'
import type { FileNode, TenantFiles } from '../store/tenant-files.ts'
import {
  DATABASE_ID,
  isInUse,
  keyIn,
  keysOf,
  linesToOwnRow,
  NAME_BYTES,
  nameKeys,
  nameRows,
  paddedName,
  type RowPlace,
} from './database-pages.ts'
import { MemorySearch } from './memory-search.ts'

/** What initdb calls it. */
export const BUILT_NAME = 'postgres'

const FOLDER = 'global'
const MAP_FILE = 'pg_filenode.map'
const MAP_COUNT_AT = 4
const MAP_ENTRIES_AT = 8
const MAP_ENTRY_BYTES = 8
/** Object ids of `pg_database` and of its index by name. */
const ROWS_ID = 1262
const INDEX_ID = 2671
const TEMPLATES: ReadonlySet<string> = new Set(['template0', 'template1'])
const CHECKSUM_AT = 8

/** Computes what a page, which lies there in memory, should have as its checksum. */
export type PageChecksum = (at: number, block: number) => number

/** Where they are in memory, and where they were in their file. */
export interface ReadBytes {
  readonly at: number
  readonly bytes: number
  readonly position: number
}

/** Where the memory of an idle Postgres says its name, in a build of the engine. */
export interface NameAnchors {
  /** The page of `pg_database`, and pages of its index, in buffers. */
  readonly rowPage: number
  readonly indexPages: readonly number[]
  /** Rows that were read from there: where their names begin. */
  readonly copies: readonly number[]
}

/** Of a tenant in a slot. */
export class DatabaseName {
  readonly #files: TenantFiles
  readonly #wanted: string
  readonly #folder: FileNode | undefined
  #known: Known | undefined

  constructor(files: TenantFiles, wanted: string) {
    this.#files = files
    this.#wanted = wanted
    this.#folder = files.lookup(files.root, FOLDER)
  }

  /**
   * What Postgres finds it under: the tenant's name. Where somebody has written so much to
   * `pg_database` that its index has several pages, the one that it had then.
   */
  get text(): string {
    return this.#knowledge.name
  }

  /** Whether pages of `file` say the name. Throws what the store throws. */
  isSaidIn(file: FileNode): boolean {
    if (file.parent !== this.#folder?.ino) return false
    const { rows, index } = this.#knowledge
    return file === rows || file === index
  }

  /** Puts the name into whole pages that were read from a file in which it {@link isSaidIn}. */
  putInto(
    file: FileNode,
    memory: Uint8Array,
    { at, bytes, position }: ReadBytes,
    checksum: PageChecksum,
  ): void {
    if (position % PAGE_BYTES !== 0) return
    const { rows, index, name } = this.#knowledge
    const isOwn = file === index ? placeOfOwn(this.#files, rows) : undefined
    for (let done = 0; done + PAGE_BYTES <= bytes; done += PAGE_BYTES) {
      const page = memory.subarray(at + done, at + done + PAGE_BYTES)
      const view = new DataView(page.buffer, page.byteOffset)
      const block = (position + done) / PAGE_BYTES
      const before = view.getUint16(CHECKSUM_AT, true)
      // What is damaged is Postgres's to find.
      if (before !== 0 && before !== checksum(at + done, block)) continue
      const changed = isOwn ? nameKeys(page, name, isOwn) : nameRows(page, name)
      if (changed && before !== 0) {
        view.setUint16(CHECKSUM_AT, checksum(at + done, block), true)
      }
    }
  }

  get #knowledge(): Known {
    return (this.#known ??= this.#learn())
  }

  #learn(): Known {
    const rows = mappedFile(this.#files, ROWS_ID)
    const index = mappedFile(this.#files, INDEX_ID)
    const isOwn = placeOfOwn(this.#files, rows)
    // The first page tells where the others are.
    const pages = pagesOf(this.#files, index).slice(1).filter(isInUse)
    const isSmall = pages.length === 1 && pages.every((page) => keysOf(page) !== undefined)
    const known = isSmall ? undefined : pages.map((page) => keyIn(page, isOwn)).find(Boolean)
    return { rows, index, name: known ?? this.#wanted }
  }
}

/** What is written of names before a start, to be compared with what it has written. */
export class FormerNames {
  readonly #files: TenantFiles
  readonly #before: readonly Uint8Array[]

  constructor(files: TenantFiles) {
    this.#files = files
    this.#before = [ROWS_ID, INDEX_ID].flatMap((id) => pagesOf(files, mappedFile(files, id)))
  }

  /** Whether a page was written since that says another name than `name`. */
  haveComeBack(name: string): boolean {
    const written = (id: number): Uint8Array[] => {
      const pages = pagesOf(this.#files, mappedFile(this.#files, id))
      return pages.filter((page) => !this.#before.some((before) => equalBytes(before, page)))
    }
    const isOwn = placeOfOwn(this.#files, mappedFile(this.#files, ROWS_ID))
    if (written(ROWS_ID).some((page) => nameRows(page, name))) return true
    return written(INDEX_ID).some((page) => nameKeys(page, name, isOwn))
  }
}

interface Known {
  readonly rows: FileNode | undefined
  readonly index: FileNode | undefined
  readonly name: string
}

function pagesOf(files: TenantFiles, file: FileNode | undefined): Uint8Array[] {
  const count = Math.floor((file?.size ?? 0) / PAGE_BYTES)
  return Array.from({ length: count }, (_, block) => {
    const page = new Uint8Array(PAGE_BYTES)
    if (file) files.read(file, page, 0, PAGE_BYTES, block * PAGE_BYTES)
    return page
  })
}

/** Entries whose rows are only in the WAL yet are no template's, most likely. */
function placeOfOwn(files: TenantFiles, rows: FileNode | undefined): RowPlace {
  const lines = pagesOf(files, rows).map(linesToOwnRow)
  return (block, line, key) => lines[block]?.get(line) ?? !TEMPLATES.has(key)
}

/** The file of a relation that all databases of a cluster share, by its object id. */
function mappedFile(files: TenantFiles, id: number): FileNode | undefined {
  const folder = files.lookup(files.root, FOLDER)
  const map = folder && files.lookup(folder, MAP_FILE)
  if (!map) return undefined
  const bytes = new Uint8Array(map.size)
  files.read(map, bytes, 0, bytes.length, 0)
  const view = new DataView(bytes.buffer)
  const end = MAP_ENTRIES_AT + view.getInt32(MAP_COUNT_AT, true) * MAP_ENTRY_BYTES
  for (let at = MAP_ENTRIES_AT; at < end; at += MAP_ENTRY_BYTES) {
    if (view.getUint32(at, true) !== id) continue
    return files.lookup(folder, String(view.getUint32(at + 4, true)))
  }
  return undefined
}

/**
 * Finds where an idle Postgres, whose files are written, says the name of its database.
 * @param buffers where its buffers lie
 */
export function findNames(
  heap: Uint8Array,
  files: TenantFiles,
  buffers: { readonly at: number; readonly bytes: number },
): NameAnchors {
  const end = buffers.at + buffers.bytes
  const buffersOf = (id: number): number[] => {
    const pages = pagesOf(files, mappedFile(files, id)).map(withoutChecksum)
    const found: number[] = []
    for (let at = buffers.at; at < end; at += PAGE_BYTES) {
      const buffer = withoutChecksum(heap.slice(at, at + PAGE_BYTES))
      if (pages.some((page) => equalBytes(page, buffer))) found.push(at)
    }
    return found
  }
  const memory = new MemorySearch(heap)
  const copies = memory
    .textsEqualTo(BUILT_NAME)
    .filter((at) => at % 4 === 0 && memory.word(at - 4) === DATABASE_ID)
    .filter((at) => equalBytes(heap.slice(at, at + NAME_BYTES), paddedName(BUILT_NAME)))
    .filter((at) => at < buffers.at || at >= end)
  const [rowPage, ...more] = buffersOf(ROWS_ID)
  assert(rowPage !== undefined && more.length === 0, 'pg_database is one page, and was read')
  assert(copies.length > 0, 'Postgres has looked its database up')
  return { rowPage, indexPages: buffersOf(INDEX_ID), copies }
}

/** It is computed when a page is written, in what is written only. */
function withoutChecksum(page: Uint8Array): Uint8Array {
  return page.fill(0, CHECKSUM_AT, CHECKSUM_AT + 2)
}

/** Gives the idle Postgres of a build another name than {@link BUILT_NAME}, in its memory. */
export function renameIdle(
  memory: Uint8Array,
  { rowPage, indexPages, copies }: NameAnchors,
  name: string,
): void {
  if (name === BUILT_NAME) return
  const pageAt = (at: number): Uint8Array => memory.subarray(at, at + PAGE_BYTES)
  const lines = linesToOwnRow(pageAt(rowPage))
  for (const at of indexPages) nameKeys(pageAt(at), name, (_, line) => lines.get(line) === true)
  nameRows(pageAt(rowPage), name)
  for (const at of copies) memory.set(paddedName(name), at)
}
