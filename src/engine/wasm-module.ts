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
const IMPORT_FUNCTION = 0
const IMPORT_TABLE = 1
const IMPORT_MEMORY = 2
const IMPORT_GLOBAL = 3
const IMPORT_TAG = 4
const LIMITS_HAS_MAXIMUM = 1
const LIMITS_SHARED_WITH_MAXIMUM = 3
const HEADER_BYTES = 8
/** The first section of a side module, as the tool conventions have it. */
const DYNAMIC_LINKING = 'dylink.0'

/** The unit in which memories are made and grow. */
export const WASM_PAGE_BYTES = 65_536

/** Size of a memory in units of {@link WASM_PAGE_BYTES}. */
export interface MemoryLimits {
  readonly minimumPages: number
  readonly maximumPages: number
  readonly shared: boolean
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

class Cursor {
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

/** `module` with other limits on each memory it imports. The input is not changed. */
export function withMemoryLimits(
  module: Uint8Array,
  limits: MemoryLimits,
): Uint8Array<ArrayBuffer> {
  assert(limits.minimumPages <= limits.maximumPages, 'minimum memory is at most the maximum')
  const { sectionAt, contentAt, contentEnd, memories } = findImports(module)
  const encoded = Uint8Array.from([
    limits.shared ? LIMITS_SHARED_WITH_MAXIMUM : LIMITS_HAS_MAXIMUM,
    ...leb128(limits.minimumPages),
    ...leb128(limits.maximumPages),
  ])
  const content: Uint8Array[] = []
  let from = contentAt
  for (const { limitsAt, limitsEnd } of memories) {
    content.push(module.subarray(from, limitsAt), encoded)
    from = limitsEnd
  }
  content.push(module.subarray(from, contentEnd))
  const contentBytes = content.reduce((sum, part) => sum + part.length, 0)
  return concatBytes([
    module.subarray(0, sectionAt + 1),
    leb128(contentBytes),
    ...content,
    module.subarray(contentEnd),
  ])
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

/** `module` with one more custom section, which no loader knows. */
export function withCustomSection(
  module: Uint8Array,
  name: string,
  content: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const nameBytes = utf8(name)
  const section = concatBytes([leb128(nameBytes.length), nameBytes, content])
  return concatBytes([module, Uint8Array.of(SECTION_CUSTOM), leb128(section.length), section])
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

function leb128(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  do {
    const low = rest & 0x7f
    rest >>>= 7
    bytes.push(rest ? low | 0x80 : low)
  } while (rest)
  return Uint8Array.from(bytes)
}
