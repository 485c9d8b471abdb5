/**
 * What an engine needs beside the stock files of PGlite, as one file: template, base and pre-main
 * images, and the files laid over the stock bundle. Made once per build by `build-assets.ts`, kept
 * in a cache, verified by hash whenever it is read.
 *
 *   offset | size | field
 *        0 |    8 | magic "PGNAPENG"
 *        8 |    4 | format version, u32 little endian
 *       12 |    4 | length of the header, u32 little endian
 *       16 |    n | header: JSON as UTF-8 (fingerprint, sections, facts about the images)
 *          |      | padding to a multiple of 4096, then the sections, each padded likewise
 */
import { concatBytes, fromUtf8, utf8 } from '../base/bytes.ts'
import { PgnapError } from '../base/errors.ts'
import type { Fingerprint } from '../base/ids.ts'
import { Template } from '../store/template.ts'
import { type FilePack, parsePack, serializePack } from './file-pack.ts'
import type { LibraryExports } from './instance.ts'
import type { BaseImage } from './base-memory.ts'
import type { PackedDelta } from './memory-delta.ts'
import type { SessionAnchors } from './session-memory.ts'
import type { NameAnchors } from './database-name.ts'
import type { RunState } from './slot-image.ts'
import { EXTENSIONS, RECIPE_VERSION, SLOT_MEMORY_BYTES_MIN, START_PARAMETERS } from './recipe.ts'

const MAGIC = 'PGNAPENG'
const FORMAT_VERSION = 3
const ALIGNMENT = 4096
const PREFIX_BYTES = 16
/** Of each hash, in the name of a memory: chance is ruled out, and nobody attacks it. */
const MEMORY_ID_DIGITS = 16

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
export type BuiltAssets = Omit<EngineAssets, 'memoryId'>

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
}

export interface IdleState extends RunState {
  readonly names: NameAnchors
}

/** What slots need once the base is laid out. */
export type SlotAssets = Omit<EngineAssets, 'base'>

export interface PreMainImage {
  /** Pages that are empty in it and not in the base, as runs: first page, number of pages, ... */
  readonly emptyRuns: readonly number[]
  /** Against a base in which these pages are empty. */
  readonly delta: PackedDelta
  /** Value of `__stack_pointer`. */
  readonly stackPointer: number
}

interface Section {
  readonly offset: number
  readonly length: number
  readonly sha256: string
}

interface Header {
  readonly fingerprint: string
  readonly sections: Readonly<Record<SectionName, Section>>
  readonly libraryExports: LibraryExports
  readonly idle: IdleState
  readonly preMain: Omit<PreMainImage, 'delta'> & { readonly endBytes: number }
  readonly tableLength: number
  readonly randomStateAt: number
  readonly sessionAnchors: SessionAnchors
}

/** A file whose header has been read. */
interface AssetFile {
  readonly header: Header
  readonly section: (name: SectionName) => Uint8Array
}

type SectionName = 'template' | 'overlay' | 'baseRuns' | 'basePages' | 'preMain'
const SECTION_NAMES: readonly SectionName[] = [
  'template',
  'overlay',
  'baseRuns',
  'basePages',
  'preMain',
]

/**
 * SHA-256 as lower-case hex; a host may have a faster one than Web Crypto, which copies its input.
 */
export type Hash = (bytes: Uint8Array) => string | Promise<string>

/** Names one exact build: the stock files, and every constant of the recipe. */
export async function fingerprintOf(stock: StockFiles, hash: Hash = sha256): Promise<Fingerprint> {
  const recipe = JSON.stringify([
    FORMAT_VERSION,
    RECIPE_VERSION,
    SLOT_MEMORY_BYTES_MIN,
    START_PARAMETERS,
    EXTENSIONS,
  ])
  const parts = [utf8(recipe), stock.wasm, stock.bundle, stock.glue]
  for (const [, bytes] of [...stock.extensions].toSorted(([a], [b]) => (a < b ? -1 : 1)))
    parts.push(bytes)
  const hashes = await Promise.all(parts.map(async (part) => hash(part)))
  return (await hash(utf8(hashes.join()))).slice(0, 32) as Fingerprint
}

export async function serializeAssets(assets: BuiltAssets): Promise<Uint8Array<ArrayBuffer>> {
  const { base, preMain } = assets
  const contents: Record<SectionName, Uint8Array> = {
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
  const header = utf8(
    JSON.stringify({
      fingerprint: assets.fingerprint,
      sections,
      libraryExports: assets.libraryExports,
      idle: assets.idle,
      preMain: {
        emptyRuns: preMain.emptyRuns,
        stackPointer: preMain.stackPointer,
        endBytes: preMain.delta.endBytes,
      },
      tableLength: assets.tableLength,
      randomStateAt: assets.randomStateAt,
      sessionAnchors: assets.sessionAnchors,
    }),
  )
  const start = new Uint8Array(padded(PREFIX_BYTES + header.length))
  start.set(utf8(MAGIC))
  const view = new DataView(start.buffer)
  view.setUint32(8, FORMAT_VERSION, true)
  view.setUint32(12, header.length, true)
  start.set(header, PREFIX_BYTES)
  return concatBytes([start, ...SECTION_NAMES.map((name) => pad(contents[name]))])
}

/**
 * Reads and verifies an asset file. Nothing is copied: the assets look into `bytes`, which may be
 * shared between threads.
 * @throws PgnapError ENGINE_ASSETS_INVALID if a hash does not match or the build is another one.
 */
export async function parseAssets(
  bytes: Uint8Array,
  expected: Fingerprint,
  hash: Hash = sha256,
): Promise<EngineAssets> {
  const { header, section } = openFile(bytes)
  if (header.fingerprint !== expected) {
    throw invalid(`made by build ${header.fingerprint}, this is build ${expected}`)
  }
  await Promise.all(
    SECTION_NAMES.map(async (name) => {
      const actual = await hash(section(name))
      if (actual !== header.sections[name].sha256) throw invalid(`section '${name}' is damaged`)
    }),
  )
  return assemble({ header, section })
}

/** Like {@link parseAssets}, for bytes that another thread of this process has verified. */
export function parseVerifiedAssets(bytes: Uint8Array): EngineAssets {
  return assemble(openFile(bytes))
}

/** The base alone, of bytes as for {@link parseVerifiedAssets}. */
export function parseBase(bytes: Uint8Array): BaseImage {
  return baseOf(openFile(bytes))
}

function baseOf({ section }: AssetFile): BaseImage {
  const runs = section('baseRuns')
  return {
    runs: new Uint32Array(runs.buffer, runs.byteOffset, runs.length / 4),
    pages: section('basePages'),
  }
}

function assemble(file: AssetFile): EngineAssets {
  const { header, section } = file
  const { endBytes, ...preMain } = header.preMain
  const contents = [header.sections.overlay, header.sections.baseRuns, header.sections.basePages]
  const hashes = contents.map((part) => part.sha256.slice(0, MEMORY_ID_DIGITS))
  return {
    fingerprint: header.fingerprint as Fingerprint,
    memoryId: [header.fingerprint, ...hashes].join('-') as Fingerprint,
    // Its own checksum is inside what the hash of the section has proven.
    template: Template.parse(section('template'), { checked: true }),
    base: baseOf(file),
    idle: header.idle,
    preMain: { ...preMain, delta: { bytes: section('preMain'), endBytes } },
    tableLength: header.tableLength,
    randomStateAt: header.randomStateAt,
    sessionAnchors: header.sessionAnchors,
    overlay: parsePack(section('overlay')),
    libraryExports: header.libraryExports,
  }
}

function openFile(bytes: Uint8Array): AssetFile {
  if (bytes.length < PREFIX_BYTES || fromUtf8(bytes.slice(0, 8)) !== MAGIC) {
    throw invalid('not an engine asset file')
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const version = view.getUint32(8, true)
  if (version !== FORMAT_VERSION) throw invalid(`format ${version}, expected ${FORMAT_VERSION}`)
  const headerBytes = view.getUint32(12, true)
  if (PREFIX_BYTES + headerBytes > bytes.length) throw invalid('cut short')
  const text = fromUtf8(bytes.slice(PREFIX_BYTES, PREFIX_BYTES + headerBytes))
  const sectionsAt = padded(PREFIX_BYTES + headerBytes)
  try {
    const header = JSON.parse(text) as Header
    const section = (name: SectionName): Uint8Array => {
      const { offset, length } = header.sections[name]
      return bytes.subarray(sectionsAt + offset, sectionsAt + offset + length)
    }
    return { header, section }
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
