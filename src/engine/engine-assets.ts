/**
 * What an engine needs beside the stock files of PGlite, as one file: template, base and pre-main
 * images, and the files laid over the stock bundle. Made once per build by `build-assets.ts`, kept
 * in a cache, verified by hash whenever it is read.
 *
 *   offset | size | field
 *        0 |    8 | magic "PGNAPENG"
 *        8 |    4 | format version, u32 little endian
 *       12 |    4 | length of the header, u32 little endian
 *       16 |   64 | SHA-256 of the header, as lower-case hex
 *       80 |    n | header: JSON as UTF-8 (fingerprint, SHA-256 of PGlite's module and of each
 *          |      | block of what follows, sections, facts about the images)
 *          |      | padding to a multiple of 4096, then the sections, each padded likewise
 */
import { concatBytes, fromUtf8, utf8 } from '../base/bytes.ts'
import { PgnapError } from '../base/errors.ts'
import type { Fingerprint } from '../base/ids.ts'
import type { SparseBytes } from '../base/sparse-bytes.ts'
import { Template } from '../store/template.ts'
import { ENGINE_SYMBOLS } from './engine-symbols.ts'
import { type FilePack, parsePack, serializePack } from './file-pack.ts'
import type { ExportPlaces } from './function-table.ts'
import type { LibraryLayout } from './library-layout.ts'
import type { LibraryExports } from './library-loader.ts'
import type { BaseImage } from './base-memory.ts'
import type { PackedDelta } from './memory-delta.ts'
import type { SessionAnchors } from './session-memory.ts'
import type { SharedMemory } from './shared-memory.ts'
import type { NameAnchors } from './database-name.ts'
import type { RunState } from './slot-image.ts'
import type { BytePatch } from './wasm-module.ts'
import {
  CONVERSIONS,
  EXTENSIONS,
  RECIPE_VERSION,
  SLOT_MEMORY_BYTES_MIN,
  START_PARAMETERS,
} from './recipe.ts'

const MAGIC = 'PGNAPENG'
const FORMAT_VERSION = 12
const ALIGNMENT = 4096
const HASH_AT = 16
const PREFIX_BYTES = 80
/** What is hashed at once: threads that verify a file together share it by blocks. */
const BLOCK_BYTES = 1 << 20
/** Of each hash, in the name of a memory: chance is ruled out, and nobody attacks it. */
const MEMORY_ID_DIGITS = 16

/** What names the stock files that a build starts from: SHA-256 of each, as lower-case hex. */
export interface StockDigests {
  readonly wasm: string
  readonly bundle: string
  readonly glue: string
  /** Of the gzipped tar file of each extension, by name. */
  readonly extensions: ReadonlyMap<string, string>
}

/** The stock files that a build starts from. */
export interface StockFiles {
  /** `pglite.wasm`. */
  readonly wasm: Uint8Array
  /** `pglite.data`, the file bundle. */
  readonly bundle: Uint8Array
  /** `pglite.js`: the glue code belongs to the layout of an instance. */
  readonly glue: Uint8Array
  /** The gzipped tar file of each extension, by name. */
  readonly extensions: ReadonlyMap<string, Uint8Array>
  readonly gunzip: (bytes: Uint8Array) => Uint8Array
}

/** As they are built; reading them adds what names the result. */
export type BuiltAssets = Omit<EngineAssets, 'memoryId'> & {
  /** What makes of PGlite's module the one that all this is for. */
  readonly codePatches: readonly BytePatch[]
  /** Of the result. */
  readonly exportPlaces: ExportPlaces
  /** Of that module, as PGlite has it. */
  readonly moduleDigest: string
}

export interface EngineAssets {
  readonly fingerprint: Fingerprint
  /**
   * Names the contents of the base and of the side modules, which a memory image is a difference
   * from. The fingerprint names only what they were made of, and a build need not come out the same
   * twice.
   */
  readonly memoryId: Fingerprint
  readonly template: Template
  /** The memory of a Postgres that is started on the template and idle. */
  readonly base: BaseImage
  /** What else there is to know of that Postgres. */
  readonly idle: IdleState
  /** An instance in which Postgres has not started: what differs from the base. */
  readonly preMain: PreMainImage
  /** Entries of the function table of every instance. */
  readonly tableLength: number
  /** Where the state of SQL's `random()` lies. */
  readonly randomStateAt: number
  /** Where what belongs to a session lies. */
  readonly sessionAnchors: SessionAnchors
  readonly overlay: FilePack
  readonly libraryExports: LibraryExports
  readonly libraryLayout: LibraryLayout
  /** Of what `overlay` and the pages of `base` are views of. */
  readonly fill: SparseBytes['fill']
}

export interface IdleState extends RunState {
  readonly names: NameAnchors
}

/** What slots need once the base is laid out. */
export type SlotAssets = Omit<EngineAssets, 'base'>

export interface PreMainImage {
  /**
   * Pages that are empty in it and not in the base, as runs: first page, number of pages, ... None
   * of them lies beyond its heap: what is there is not its own.
   */
  readonly emptyRuns: readonly number[]
  /** Pages that hold something in it and are empty in the base, likewise. */
  readonly fullRuns: readonly number[]
  /** Against a base in which these pages are empty. */
  readonly delta: PackedDelta
  /** Value of `__stack_pointer`. */
  readonly stackPointer: number
  /** Where a start with the template's settings puts it. */
  readonly sharedMemory: SharedMemory
}

interface Section {
  readonly offset: number
  readonly length: number
  /** Names what is in it. */
  readonly sha256: string
}

interface Header {
  readonly fingerprint: string
  readonly moduleDigest: string
  readonly blocks: readonly string[]
  readonly sections: Readonly<Record<SectionName, Section>>
  readonly libraryExports: LibraryExports
  readonly libraryLayout: LibraryLayout
  readonly idle: IdleState
  readonly preMain: Omit<PreMainImage, 'delta'> & { readonly endBytes: number }
  readonly tableLength: number
  readonly randomStateAt: number
  readonly sessionAnchors: SessionAnchors
  /** Parts of the section `code`, in their order. */
  readonly codePatches: readonly { readonly at: number; readonly length: number }[]
  readonly exportPlaces: ExportPlaces
}

/** A file whose header has been read. */
interface AssetFile {
  readonly source: SparseBytes
  readonly header: Header
  /** All that follows the header, likewise. */
  readonly contents: Uint8Array
  /** As a view; it need not be filled. */
  readonly section: (name: SectionName) => Uint8Array
}

type SectionName = 'code' | 'template' | 'overlay' | 'baseRuns' | 'basePages' | 'preMain'
const SECTION_NAMES: readonly SectionName[] = [
  'code',
  'template',
  'overlay',
  'baseRuns',
  'basePages',
  'preMain',
]

/**
 * SHA-256 of what a view of the file should hold, as lower-case hex. A host may have a faster one
 * than Web Crypto, which copies its input, and need not fill the view for it.
 */
export type Hash = (part: Uint8Array) => string | Promise<string>

/** How a file is verified. */
export interface Verification {
  /** Default: that of Web Crypto. */
  readonly hash?: Hash
  /**
   * 1 for each block that is known to be intact: threads that share it share the work. Default: of
   * this verification alone. Its length is that of {@link blockCountMax}.
   */
  readonly proven?: Uint8Array
  /** From the last block to the first: two threads that start at both ends meet in the middle. */
  readonly backwards?: boolean
}

/** Blocks that an asset file of so many bytes has at most. */
export function blockCountMax(sizeBytes: number): number {
  return Math.ceil(sizeBytes / BLOCK_BYTES)
}

/** Names one exact build: the stock files, and every constant of the recipe. */
export async function fingerprintOf(stock: StockDigests): Promise<Fingerprint> {
  const recipe = JSON.stringify([
    FORMAT_VERSION,
    RECIPE_VERSION,
    SLOT_MEMORY_BYTES_MIN,
    START_PARAMETERS,
    EXTENSIONS,
    CONVERSIONS,
    // What the module exports, and with it the function table, follows from them.
    ENGINE_SYMBOLS,
  ])
  const extensions = [...stock.extensions].toSorted(([a], [b]) => (a < b ? -1 : 1))
  const hashes = [await sha256(utf8(recipe)), stock.wasm, stock.bundle, stock.glue]
  for (const [, digest] of extensions) hashes.push(digest)
  return (await sha256(utf8(hashes.join()))).slice(0, 32) as Fingerprint
}

/** Of stock files that are in memory. */
export async function digestsOf(stock: StockFiles): Promise<StockDigests> {
  const extensions = [...stock.extensions].map(
    async ([name, bytes]) => [name, await sha256(bytes)] as const,
  )
  return {
    wasm: await sha256(stock.wasm),
    bundle: await sha256(stock.bundle),
    glue: await sha256(stock.glue),
    extensions: new Map(await Promise.all(extensions)),
  }
}

export async function serializeAssets(assets: BuiltAssets): Promise<Uint8Array<ArrayBuffer>> {
  const { base, preMain } = assets
  const contents: Record<SectionName, Uint8Array> = {
    code: concatBytes(assets.codePatches.map(({ bytes }) => bytes)),
    template: assets.template.serialize(),
    overlay: serializePack(assets.overlay),
    baseRuns: new Uint8Array(base.runs.buffer, base.runs.byteOffset, base.runs.byteLength),
    basePages: base.pages,
    preMain: preMain.delta.bytes,
  }
  const sections: Partial<Record<SectionName, Section>> = {}
  let offset = 0
  for (const name of SECTION_NAMES) {
    const bytes = contents[name]
    sections[name] = { offset, length: bytes.length, sha256: await sha256(bytes) }
    offset += padded(bytes.length)
  }
  const packed = concatBytes(SECTION_NAMES.map((name) => pad(contents[name])))
  const header = utf8(
    JSON.stringify({
      fingerprint: assets.fingerprint,
      moduleDigest: assets.moduleDigest,
      blocks: await Promise.all(blocksOf(packed).map(sha256)),
      sections,
      libraryExports: assets.libraryExports,
      libraryLayout: assets.libraryLayout,
      idle: assets.idle,
      preMain: {
        emptyRuns: preMain.emptyRuns,
        fullRuns: preMain.fullRuns,
        stackPointer: preMain.stackPointer,
        sharedMemory: preMain.sharedMemory,
        endBytes: preMain.delta.endBytes,
      },
      tableLength: assets.tableLength,
      randomStateAt: assets.randomStateAt,
      sessionAnchors: assets.sessionAnchors,
      codePatches: assets.codePatches.map(({ at, bytes }) => ({ at, length: bytes.length })),
      exportPlaces: assets.exportPlaces,
    }),
  )
  const start = new Uint8Array(padded(PREFIX_BYTES + header.length))
  start.set(utf8(MAGIC))
  const view = new DataView(start.buffer)
  view.setUint32(8, FORMAT_VERSION, true)
  view.setUint32(12, header.length, true)
  start.set(utf8(await sha256(header)), HASH_AT)
  start.set(header, PREFIX_BYTES)
  return concatBytes([start, packed])
}

/**
 * Verifies an asset file as a whole, and fills nothing of it but its header.
 * @returns the build that it is of
 * @throws PgnapError ENGINE_ASSETS_INVALID if a hash does not match
 */
export async function proveAssets(
  source: SparseBytes,
  { hash = sha256, proven, backwards = false }: Verification = {},
): Promise<Fingerprint> {
  await checkHeader(source, hash)
  const { header, contents } = openFile(source)
  const known = proven ?? new Uint8Array(blockCountMax(source.bytes.length))
  const blocks = [...blocksOf(contents).entries()]
  if (blocks.length !== header.blocks.length) throw invalid('cut short')
  for (const [index, block] of backwards ? blocks.toReversed() : blocks) {
    if (Atomics.load(known, index) === 1) continue
    if ((await hash(block)) !== header.blocks[index]) throw invalid(`block ${index} is damaged`)
    Atomics.store(known, index, 1)
  }
  return header.fingerprint as Fingerprint
}

/**
 * As {@link proveAssets}, of a file that has to be of one build.
 * @throws PgnapError ENGINE_ASSETS_INVALID if it is not
 */
export async function verifyAssets(
  source: SparseBytes,
  expected: Fingerprint,
  verification?: Verification,
): Promise<void> {
  const actual = await proveAssets(source, verification)
  if (actual !== expected) throw invalid(`made by build ${actual}, this is build ${expected}`)
}

/** As views. */
function blocksOf(contents: Uint8Array): Uint8Array[] {
  const count = Math.ceil(contents.length / BLOCK_BYTES)
  return Array.from({ length: count }, (_, index) =>
    contents.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES),
  )
}

/**
 * Reads a file that this process has verified. Nothing is copied: the assets look into its bytes,
 * which may be shared between threads, and of which only what is used is filled.
 */
export function parseVerifiedAssets(source: SparseBytes): EngineAssets {
  return assemble(openFile(source))
}

/** What to make of PGlite's module, of a file as for {@link parseVerifiedAssets}. */
export function parseCode(source: SparseBytes): Pick<BuiltAssets, 'codePatches' | 'exportPlaces'> {
  const { header, section } = openFile(source)
  const code = section('code')
  source.fill(code)
  let from = 0
  const codePatches = header.codePatches.map(({ at, length }) => ({
    at,
    bytes: code.subarray(from, (from += length)),
  }))
  return { codePatches, exportPlaces: header.exportPlaces }
}

/**
 * Whether a file that nobody has verified says truly what to make of PGlite's module.
 * @param moduleDigest of the module as it is installed
 */
export async function isCodeProven(
  source: SparseBytes,
  moduleDigest: string,
  hash: Hash,
): Promise<boolean> {
  const { header, section } = openFile(source)
  await checkHeader(source, hash)
  const isIntact = (await hash(section('code'))) === header.sections.code.sha256
  return isIntact && header.moduleDigest === moduleDigest
}

/** The base alone, of a file as for {@link parseVerifiedAssets}. */
export function parseBase(source: SparseBytes): BaseImage {
  return baseOf(openFile(source))
}

function baseOf({ source, section }: AssetFile): BaseImage {
  const runs = section('baseRuns')
  source.fill(runs)
  return {
    runs: new Uint32Array(runs.buffer, runs.byteOffset, runs.length / 4),
    pages: section('basePages'),
  }
}

function assemble(file: AssetFile): EngineAssets {
  const { source, header, section } = file
  const { fill } = source
  const preMainBytes = section('preMain')
  fill(preMainBytes)
  const { endBytes, ...preMain } = header.preMain
  const contents = [header.sections.overlay, header.sections.baseRuns, header.sections.basePages]
  const hashes = contents.map((part) => part.sha256.slice(0, MEMORY_ID_DIGITS))
  return {
    fingerprint: header.fingerprint as Fingerprint,
    memoryId: [header.fingerprint, ...hashes].join('-') as Fingerprint,
    // Its own checksum is inside what the hash of the section has proven.
    template: Template.parse(section('template'), { checked: true, fill }),
    base: baseOf(file),
    idle: header.idle,
    preMain: { ...preMain, delta: { bytes: preMainBytes, endBytes } },
    tableLength: header.tableLength,
    randomStateAt: header.randomStateAt,
    sessionAnchors: header.sessionAnchors,
    overlay: parsePack(section('overlay'), fill),
    libraryExports: header.libraryExports,
    libraryLayout: header.libraryLayout,
    fill,
  }
}

async function checkHeader(source: SparseBytes, hash: Hash): Promise<void> {
  const header = headerPart(source)
  const stated = fromUtf8(source.bytes.slice(HASH_AT, PREFIX_BYTES))
  if ((await hash(header)) !== stated) throw invalid('its header is damaged')
}

/** As a view, filled as the prefix before it is. */
function headerPart({ bytes, fill }: SparseBytes): Uint8Array {
  fill(bytes.subarray(0, PREFIX_BYTES))
  if (bytes.length < PREFIX_BYTES || fromUtf8(bytes.slice(0, 8)) !== MAGIC) {
    throw invalid('not an engine asset file')
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const version = view.getUint32(8, true)
  if (version !== FORMAT_VERSION) throw invalid(`format ${version}, expected ${FORMAT_VERSION}`)
  const headerBytes = view.getUint32(12, true)
  if (PREFIX_BYTES + headerBytes > bytes.length) throw invalid('cut short')
  const part = bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + headerBytes)
  fill(part)
  return part
}

function openFile(source: SparseBytes): AssetFile {
  const { bytes } = source
  const part = headerPart(source)
  const text = fromUtf8(part.slice())
  const sectionsAt = padded(PREFIX_BYTES + part.length)
  try {
    const header = JSON.parse(text) as Header
    const section = (name: SectionName): Uint8Array => {
      const { offset, length } = header.sections[name]
      return bytes.subarray(sectionsAt + offset, sectionsAt + offset + length)
    }
    return { source, header, contents: bytes.subarray(sectionsAt), section }
  } catch (cause) {
    throw invalid('its header is damaged', cause)
  }
}

function invalid(why: string, cause?: unknown): PgnapError {
  return new PgnapError('ENGINE_ASSETS_INVALID', `engine assets unusable: ${why}`, {
    hint: 'delete the engine cache; the next start builds it anew',
    cause,
  })
}

/** SHA-256 as lower-case hex. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  // Web Crypto refuses shared memory.
  const own =
    bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : bytes.slice()
  const digest = await crypto.subtle.digest('SHA-256', own)
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

function padded(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT
}

function pad(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(padded(bytes.length))
  whole.set(bytes)
  return whole
}
