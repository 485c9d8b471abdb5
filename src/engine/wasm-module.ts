/**
 * What pgnap must do to WebAssembly binaries as bytes: find their imported memories and declare
 * other limits for them, and make the stand-ins of side modules (`library-ticket.ts`).
 *
 * Stock PGlite imports a memory of at least 128 MiB. A slot needs a fifth of that, and the memory
 * has to be *shared* so that another thread can raise Postgres's interrupt flags. Both are
 * properties of the import, not of the code, so one import entry is rewritten and nothing else.
 * Side modules (the `.so` files of extensions) import the same memory and must declare the same
 * kind.
 *
 * Source: WebAssembly Core Specification 2.0, "Binary Format", sections 5.3.8 (limits) and 5.5.5
 * (import section); the threads proposal for the shared flag (limits flag 0x03).
 */
import { assert } from '../base/assert.ts'
import { concatBytes, fromUtf8, utf8 } from '../base/bytes.ts'

const SECTION_CUSTOM = 0
const SECTION_IMPORT = 2
const SECTION_GLOBAL = 6
const SECTION_EXPORT = 7
const SECTION_CODE = 10
export const I32_CONST = 0x41
export const END = 0x0b
const IMPORT_FUNCTION = 0
const EXPORT_FUNCTION = 0
const IMPORT_TABLE = 1
const IMPORT_MEMORY = 2
const IMPORT_GLOBAL = 3
const IMPORT_TAG = 4
const LIMITS_HAS_MAXIMUM = 1
const LIMITS_SHARED_WITH_MAXIMUM = 3
const HEADER_BYTES = 8
/** Of a number of 32 bits. */
const LEB128_BYTES_MAX = 5
/** Its id, its length as a number of full size, and the length of its empty name. */
const EMPTY_SECTION_BYTES: number = 1 + LEB128_BYTES_MAX + 1
/** The first section of a side module, as the tool conventions have it. */
const DYNAMIC_LINKING = 'dylink.0'
/** Its part about sizes. */
const DYNAMIC_LINKING_MEMORY = 1

/** The unit in which memories are made and grow. */
export const WASM_PAGE_BYTES = 65_536

/** Size of a memory in units of {@link WASM_PAGE_BYTES}. */
export interface MemoryLimits {
  readonly minimumPages: number
  readonly maximumPages: number
  readonly shared: boolean
}

/** Pages that hold `bytes`. */
export function wasmPages(bytes: number): number {
  return Math.ceil(bytes / WASM_PAGE_BYTES)
}

interface ImportSection {
  /** Where the section starts (its id byte), and where its content starts and ends. */
  readonly sectionAt: number
  readonly contentAt: number
  readonly contentEnd: number
  readonly memories: readonly MemoryImport[]
}

interface MemoryImport {
  /** Where the limits of the memory start and end. */
  readonly limitsAt: number
  readonly limitsEnd: number
  readonly minimumPages: number
}

/** Reads a module from front to back. */
export class Cursor {
  readonly bytes: Uint8Array
  at: number

  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes
    this.at = at
  }

  byte(): number {
    const value = this.bytes[this.at++]
    assert(value !== undefined, 'wasm binary ends too early')
    return value
  }

  /** An unsigned LEB128 of at most 32 bits. */
  unsigned(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const next = this.byte()
      value |= (next & 0x7f) << shift
      if (next < 0x80) return value >>> 0
    }
    assert(false, 'LEB128 longer than 32 bits')
  }

  name(): string {
    const length = this.unsigned()
    this.at += length
    return fromUtf8(this.bytes.slice(this.at - length, this.at))
  }

  skipLimits(): void {
    const flags = this.unsigned()
    this.unsigned()
    if (flags & LIMITS_HAS_MAXIMUM) this.unsigned()
  }
}

/**
 * `module` with other limits on each memory it imports. The input is not changed.
 * @param limitsOf by the memory's number among the imported ones
 */
export function withMemoryLimits(
  module: Uint8Array,
  limitsOf: (index: number) => MemoryLimits,
): Uint8Array<ArrayBuffer> {
  const { sectionAt, contentAt, contentEnd, memories } = findImports(module)
  const content: Uint8Array[] = []
  let from = contentAt
  for (const [index, { limitsAt, limitsEnd }] of memories.entries()) {
    const limits = limitsOf(index)
    assert(limits.minimumPages <= limits.maximumPages, 'minimum memory is at most the maximum')
    content.push(module.subarray(from, limitsAt), encodeLimits(limits))
    from = limitsEnd
  }
  content.push(module.subarray(from, contentEnd))
  const contentBytes = content.reduce((sum, part) => sum + part.length, 0)
  return concatBytes([
    module.subarray(0, sectionAt + 1),
    Uint8Array.from(leb128(contentBytes)),
    ...content,
    module.subarray(contentEnd),
  ])
}

/** Other bytes for a part of a module, as many as there were. */
export interface BytePatch {
  /** Where the part starts. */
  readonly at: number
  readonly bytes: Uint8Array
}

/**
 * Calls `use` with `module` while these parts of it are others, and puts back what was there: a
 * large module need not be copied for the sake of a few bytes.
 */
export function lendPatched<Result>(
  module: Uint8Array<ArrayBuffer>,
  patches: readonly BytePatch[],
  use: (patched: Uint8Array<ArrayBuffer>) => Result,
): Result {
  // A Buffer's own slice would be a view.
  const former = patches.map(({ at, bytes }) =>
    Uint8Array.from(module.subarray(at, at + bytes.length)),
  )
  for (const { at, bytes } of patches) module.set(bytes, at)
  try {
    return use(module)
  } finally {
    for (const [index, { at }] of patches.entries()) module.set(former[index] ?? [], at)
  }
}

/** What gives `module` other limits for the memory that it imports. */
export function limitsPatches(module: Uint8Array, limits: MemoryLimits): readonly BytePatch[] {
  return findImports(module).memories.map(({ limitsAt, limitsEnd }) => {
    const bytes = encodeLimits(limits, limitsEnd - limitsAt)
    assert(bytes.length === limitsEnd - limitsAt, 'the limits fit where the former ones were')
    return { at: limitsAt, bytes }
  })
}

/** Names of what `module` exports. */
export function exportNames(module: Uint8Array): readonly string[] {
  return findExports(module).entries.map(({ name }) => name)
}

/** Indexes of the functions that `module` exports, in their order. */
export function exportedFunctions(module: Uint8Array): readonly number[] {
  const { entries } = findExports(module)
  return entries.filter(({ kind }) => kind === EXPORT_FUNCTION).map(({ index }) => index)
}

/**
 * What leaves `module` with fewer exports: in the place of the former section there is a shorter
 * one, and behind it a custom section as long as the rest.
 */
export function fewerExports(module: Uint8Array, keep: (name: string) => boolean): BytePatch {
  const { sectionAt, contentEnd, entries } = findExports(module)
  const kept = entries.filter(({ name }) => keep(name))
  const content = concatBytes([
    Uint8Array.from(leb128(kept.length)),
    ...kept.map(({ at, end }) => module.subarray(at, end)),
  ])
  const bytes = new Uint8Array(contentEnd - sectionAt)
  const section = Uint8Array.of(SECTION_EXPORT, ...leb128(content.length), ...content)
  const restBytes = bytes.length - section.length
  assert(restBytes >= EMPTY_SECTION_BYTES, 'there is room for a custom section')
  bytes.set(section)
  const restHead = [
    SECTION_CUSTOM,
    ...leb128(restBytes - EMPTY_SECTION_BYTES + 1, LEB128_BYTES_MAX),
  ]
  // What follows is its name, which is empty, and zeros.
  bytes.set(restHead, section.length)
  return { at: sectionAt, bytes }
}

/** Where a part of a module starts and ends. */
export interface Place {
  readonly at: number
  readonly end: number
}

/** The body of a function that `module` exports. */
export function bodyOf(module: Uint8Array, name: string): Place {
  const index = exportIndex(module, name) - importedFunctions(module).length
  const cursor = findSection(module, SECTION_CODE)
  const count = cursor.unsigned()
  assert(index >= 0 && index < count, `${name} is a function of the module's own`)
  for (let rest = index; rest > 0; rest--) {
    const bytes = cursor.unsigned()
    cursor.at += bytes
  }
  const bytes = cursor.unsigned()
  return { at: cursor.at, end: cursor.at + bytes }
}

/** Where a function has `bytes`, which it has once. */
export function onlyPlaceOf(module: Uint8Array, { at, end }: Place, bytes: Uint8Array): number {
  const found: number[] = []
  for (let from = at; from + bytes.length <= end; from++) {
    if (bytes.every((byte, index) => module[from + index] === byte)) found.push(from)
  }
  const [place] = found
  assert(place !== undefined && found.length === 1, `a function has ${found.length} such places`)
  return place
}

/** The number that a global which `module` exports begins with: of a variable, its address. */
export function exportedNumber(module: Uint8Array, name: string): number {
  const index = exportIndex(module, name)
  const cursor = findSection(module, SECTION_GLOBAL)
  cursor.unsigned()
  for (let rest = index; rest >= 0; rest--) {
    cursor.at += 2
    assert(cursor.byte() === I32_CONST, 'a global begins with a constant')
    const value = cursor.unsigned()
    assert(cursor.byte() === END, 'and with nothing else')
    if (rest === 0) return value
  }
  assert(false, `${name} is a global of the module's own`)
}

/** The index of an imported function. */
export function importIndex(module: Uint8Array, name: string): number {
  const index = importedFunctions(module).indexOf(name)
  assert(index >= 0, `the module imports ${name}`)
  return index
}

/** The index of what `module` exports by a name. */
export function exportIndex(module: Uint8Array, name: string): number {
  const found = findExports(module).entries.find((entry) => entry.name === name)
  assert(found, `the module exports ${name}`)
  return found.index
}

/** Names, in the order in which functions are counted. */
function importedFunctions(module: Uint8Array): readonly string[] {
  const cursor = findSection(module, SECTION_IMPORT)
  const names: string[] = []
  for (let rest = cursor.unsigned(); rest > 0; rest--) {
    cursor.name()
    const name = cursor.name()
    const kind = cursor.byte()
    if (kind === IMPORT_FUNCTION) names.push(name)
    if (kind === IMPORT_MEMORY) cursor.skipLimits()
    else skipImportDescription(cursor, kind)
  }
  return names
}

/** At the beginning of its content. */
export function findSection(module: Uint8Array, wanted: number): Cursor {
  const cursor = new Cursor(module, HEADER_BYTES)
  while (cursor.at < module.length) {
    const id = cursor.byte()
    const contentBytes = cursor.unsigned()
    if (id === wanted) return cursor
    cursor.at += contentBytes
  }
  assert(false, `the module has a section ${wanted}`)
}

/** Pages that the first memory which the module imports must have at least. */
export function memoryMinimumPages(module: Uint8Array): number | undefined {
  return findImports(module).memories[0]?.minimumPages
}

/**
 * The header of a side module and its first section, `dylink.0`: all that a loader reads of it
 * before it is compiled.
 */
export function dynamicLinkingPart(module: Uint8Array): Uint8Array {
  const cursor = new Cursor(module, HEADER_BYTES)
  assert(cursor.byte() === SECTION_CUSTOM, 'a side module begins with a custom section')
  const contentBytes = cursor.unsigned()
  const contentEnd = cursor.at + contentBytes
  assert(cursor.name() === DYNAMIC_LINKING, 'a side module begins with how it is to be linked')
  return module.subarray(0, contentEnd)
}

/** What a library asks its loader for. */
export interface LinkingNeeds {
  /** For its variables. */
  readonly memoryBytes: number
  readonly alignmentBytes: number
  /** Of the function table, which it fills itself. */
  readonly ownEntries: number
}

/** What a side module says of itself in its section `dylink.0`. */
export function linkingNeeds(module: Uint8Array): LinkingNeeds {
  const content = customSection(module, DYNAMIC_LINKING)
  assert(content, 'a side module says how it is to be linked')
  const cursor = new Cursor(content, 0)
  while (cursor.at < content.length) {
    const kind = cursor.byte()
    const end = cursor.unsigned() + cursor.at
    if (kind === DYNAMIC_LINKING_MEMORY) {
      const memoryBytes = cursor.unsigned()
      const alignmentBytes = 2 ** cursor.unsigned()
      return { memoryBytes, alignmentBytes, ownEntries: cursor.unsigned() }
    }
    cursor.at = end
  }
  assert(false, 'a side module says how much it needs')
}

/** `module` with one more custom section, which no loader knows. */
export function withCustomSection(
  module: Uint8Array,
  name: string,
  content: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const nameBytes = utf8(name)
  const section = concatBytes([Uint8Array.from(leb128(nameBytes.length)), nameBytes, content])
  const head = Uint8Array.of(SECTION_CUSTOM, ...leb128(section.length))
  return concatBytes([module, head, section])
}

/** Content of the custom section of that name; undefined without one. */
export function customSection(module: Uint8Array, name: string): Uint8Array | undefined {
  const cursor = new Cursor(module, HEADER_BYTES)
  while (cursor.at < module.length) {
    const id = cursor.byte()
    const contentBytes = cursor.unsigned()
    const contentEnd = cursor.at + contentBytes
    if (id === SECTION_CUSTOM && cursor.name() === name) {
      return module.subarray(cursor.at, contentEnd)
    }
    cursor.at = contentEnd
  }
  return undefined
}

function findImports(module: Uint8Array): ImportSection {
  const cursor = new Cursor(module, HEADER_BYTES)
  while (cursor.at < module.length) {
    const sectionAt = cursor.at
    const id = cursor.byte()
    const contentBytes = cursor.unsigned()
    const contentAt = cursor.at
    const contentEnd = contentAt + contentBytes
    if (id === SECTION_IMPORT) {
      const memories = findMemories(cursor)
      if (memories.length > 0) return { sectionAt, contentAt, contentEnd, memories }
    }
    cursor.at = contentEnd
  }
  assert(false, 'the wasm module imports no memory')
}

function findMemories(cursor: Cursor): MemoryImport[] {
  const found: MemoryImport[] = []
  const count = cursor.unsigned()
  for (let index = 0; index < count; index++) {
    cursor.name()
    cursor.name()
    const kind = cursor.byte()
    if (kind !== IMPORT_MEMORY) {
      skipImportDescription(cursor, kind)
      continue
    }
    const limitsAt = cursor.at
    cursor.skipLimits()
    const minimumPages = new Cursor(cursor.bytes, limitsAt + 1).unsigned()
    found.push({ limitsAt, limitsEnd: cursor.at, minimumPages })
  }
  return found
}

function skipImportDescription(cursor: Cursor, kind: number): void {
  switch (kind) {
    case IMPORT_FUNCTION:
      cursor.unsigned()
      return
    case IMPORT_TABLE:
      cursor.byte()
      cursor.skipLimits()
      return
    case IMPORT_GLOBAL:
      cursor.at += 2
      return
    case IMPORT_TAG:
      cursor.byte()
      cursor.unsigned()
      return
    default:
      assert(false, `unknown kind of wasm import: ${kind}`)
  }
}

/** @param bytes how long it should be, if its numbers may be as long as that */
function encodeLimits(limits: MemoryLimits, bytes = 0): Uint8Array {
  const flags = limits.shared ? LIMITS_SHARED_WITH_MAXIMUM : LIMITS_HAS_MAXIMUM
  const minimum = leb128(limits.minimumPages)
  const maximumBytes = Math.min(bytes - 1 - minimum.length, LEB128_BYTES_MAX)
  return Uint8Array.of(flags, ...minimum, ...leb128(limits.maximumPages, maximumBytes))
}

interface ExportSection {
  /** Where the section starts (its id byte) and ends. */
  readonly sectionAt: number
  readonly contentEnd: number
  readonly entries: readonly ExportEntry[]
}

interface ExportEntry {
  readonly name: string
  readonly kind: number
  /** Among all functions of the module, or all of its globals. */
  readonly index: number
  readonly at: number
  readonly end: number
}

function findExports(module: Uint8Array): ExportSection {
  const cursor = new Cursor(module, HEADER_BYTES)
  for (;;) {
    const sectionAt = cursor.at
    const id = cursor.byte()
    const contentBytes = cursor.unsigned()
    const contentEnd = cursor.at + contentBytes
    if (id === SECTION_EXPORT) {
      const count = cursor.unsigned()
      const entries = Array.from({ length: count }, () => readExport(cursor))
      return { sectionAt, contentEnd, entries }
    }
    cursor.at = contentEnd
  }
}

function readExport(cursor: Cursor): ExportEntry {
  const { at } = cursor
  const name = cursor.name()
  const kind = cursor.byte()
  const index = cursor.unsigned()
  return { name, kind, index, at, end: cursor.at }
}

/** @param bytesMin at least so long, with zeros, which stand at the end */
function leb128(value: number, bytesMin = 1): number[] {
  const bytes: number[] = []
  let rest = value
  do {
    const low = rest & 0x7f
    rest >>>= 7
    bytes.push(rest || bytes.length + 1 < bytesMin ? low | 0x80 : low)
  } while (rest || bytes.length < bytesMin)
  return bytes
}
