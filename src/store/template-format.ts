/**
 * A template as bytes. All numbers little-endian; sizes and times are doubles, so that a reader
 * needs no 64-bit integers. docs/store-format.md has the byte tables.
 *
 *   0   8  magic "pgnapTPL"          16  16  checksum of everything from byte 32 on
 *   8   4  version (1)               32   8  bytes of the tree
 *   12  4  number of nodes           40   8  bytes of the data
 *   48     the tree: per node 40 bytes (parent u32, mode u32, size f64, modified f64,
 *          data offset u32, data length u32, name length u16, six zeros), then the name in
 *          UTF-8, padded to 4
 *   then   the data, each content once, each starting at a multiple of 8
 *
 * The checksum is four 32-bit lanes, each over every fourth word, mixed by multiplying and
 * rotating. It finds damage and names a template; it is no defence against a forger. A step is a
 * bijection of the lane, so any single changed word changes the sum. Checking 8 MB takes about 2
 * ms.
 */
import { assert } from '../base/assert.ts'
import { fromUtf8, utf8 } from '../base/bytes.ts'
import { PgnapError } from '../base/errors.ts'
import type { InodeNo } from '../base/ids.ts'
import type { SparseBytes } from '../base/sparse-bytes.ts'
import { isDirectoryMode } from './file-node.ts'
import type { NewNode, TemplateNode } from './template.ts'

const MAGIC = 'pgnapTPL'
const VERSION = 1
const HEADER_BYTES = 48
const CHECKSUM_AT = 16
const CHECKSUM_BYTES = 16
const SUMMED_FROM = 32
const NODE_BYTES = 40
/** Longest template that is read, so that a damaged length cannot ask for the moon. */
const DATA_BYTES_MAX = 2 ** 30

export function serializeTemplate(nodes: readonly NewNode[]): Uint8Array<ArrayBuffer> {
  const names = nodes.map((node) => utf8(node.name))
  const placed = placeData(nodes)
  let treeBytes = 0
  for (const name of names) treeBytes += NODE_BYTES + align(name.length, 4)
  treeBytes = align(treeBytes, 8)
  const bytes = new Uint8Array(HEADER_BYTES + treeBytes + placed.totalBytes)
  const view = new DataView(bytes.buffer)
  bytes.set(utf8(MAGIC))
  view.setUint32(8, VERSION, true)
  view.setUint32(12, nodes.length, true)
  view.setFloat64(32, treeBytes, true)
  view.setFloat64(40, placed.totalBytes, true)
  let at = HEADER_BYTES
  for (const [index, node] of nodes.entries()) {
    const name = names[index]
    assert(name !== undefined && name.length < 2 ** 16, 'a file name is short')
    view.setUint32(at, node.parent, true)
    view.setUint32(at + 4, node.mode, true)
    view.setFloat64(at + 8, node.sizeBytes, true)
    view.setFloat64(at + 16, Math.floor(node.modifiedMs), true)
    view.setUint32(at + 24, placed.offsets[index] ?? 0, true)
    view.setUint32(at + 28, node.data.length, true)
    view.setUint16(at + 32, name.length, true)
    bytes.set(name, at + NODE_BYTES)
    at += NODE_BYTES + align(name.length, 4)
  }
  const dataAt = HEADER_BYTES + treeBytes
  for (const [offset, data] of placed.contents) bytes.set(data, dataAt + offset)
  bytes.set(checksum(bytes), CHECKSUM_AT)
  return bytes
}

export interface ParsedTemplate {
  readonly id: string
  readonly nodes: readonly TemplateNode[]
}

/**
 * Throws ENGINE_ASSETS_INVALID unless `bytes` are a whole template of this version.
 * @param fill of what `bytes` are part of, where they are `checked`
 */
export function parseTemplate(
  bytes: Uint8Array,
  checked: boolean,
  fill: SparseBytes['fill'],
): ParsedTemplate {
  if (bytes.length < HEADER_BYTES) throw invalid('it is too short')
  fill(bytes.subarray(0, HEADER_BYTES))
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  // A TextDecoder refuses shared memory, hence the copies of what holds text.
  if (fromUtf8(bytes.slice(0, 8)) !== MAGIC) throw invalid('it is not a template')
  const version = view.getUint32(8, true)
  if (version !== VERSION) throw invalid(`its version is ${version}, not ${VERSION}`)
  const treeBytes = view.getFloat64(32, true)
  const dataBytes = view.getFloat64(40, true)
  const sane = treeBytes >= 0 && dataBytes >= 0 && dataBytes <= DATA_BYTES_MAX
  if (!sane || bytes.length !== HEADER_BYTES + treeBytes + dataBytes) {
    throw invalid('its length is not what it says')
  }
  const stored = bytes.slice(CHECKSUM_AT, CHECKSUM_AT + CHECKSUM_BYTES)
  if (!checked && hex(checksum(bytes)) !== hex(stored)) throw invalid('its checksum is wrong')
  const tree = bytes.subarray(HEADER_BYTES, HEADER_BYTES + treeBytes)
  fill(tree)
  const contents: Contents = { bytes: bytes.subarray(HEADER_BYTES + treeBytes), fill }
  return { id: hex(stored), nodes: parseTree(tree.slice(), contents, view.getUint32(12, true)) }
}

type Contents = Pick<SparseBytes, 'bytes' | 'fill'>

function parseTree(tree: Uint8Array, data: Contents, count: number): readonly TemplateNode[] {
  const view = new DataView(tree.buffer, tree.byteOffset, tree.length)
  const nodes: TemplateNode[] = []
  const childrenOf: (Map<string, InodeNo> | undefined)[] = []
  let at = 0
  for (let index = 0; index < count; index++) {
    if (at + NODE_BYTES > tree.length) throw invalid('its tree ends early')
    const parent = view.getUint32(at, true)
    const mode = view.getUint32(at + 4, true)
    const offset = view.getUint32(at + 24, true)
    const length = view.getUint32(at + 28, true)
    const nameLength = view.getUint16(at + 32, true)
    const name = fromUtf8(tree.subarray(at + NODE_BYTES, at + NODE_BYTES + nameLength))
    const inode = (index + 1) as InodeNo
    if (parent > index || (parent === 0) !== (index === 0)) throw invalid('its tree is no tree')
    if (offset + length > data.bytes.length) throw invalid('a file lies outside of it')
    childrenOf[parent - 1]?.set(name, inode)
    const children = isDirectoryMode(mode) ? new Map<string, InodeNo>() : undefined
    childrenOf.push(children)
    nodes.push({
      inode,
      parent: parent as InodeNo | 0,
      name,
      mode,
      sizeBytes: view.getFloat64(at + 8, true),
      modifiedMs: view.getFloat64(at + 16, true),
      dataBytes: length,
      content: (start, end) => {
        assert(start <= end && end <= length, 'what is read lies inside of the file')
        const part = data.bytes.subarray(offset + start, offset + end)
        data.fill(part)
        return part
      },
      children,
    })
    at += NODE_BYTES + align(nameLength, 4)
  }
  if (nodes.length === 0) throw invalid('it has no root')
  return nodes
}

interface PlacedData {
  /** By node. */
  readonly offsets: readonly number[]
  /** Each content once, with its offset. */
  readonly contents: readonly (readonly [number, Uint8Array])[]
  readonly totalBytes: number
}

function placeData(nodes: readonly NewNode[]): PlacedData {
  const offsets: number[] = []
  const contents: [number, Uint8Array][] = []
  const byHash = new Map<string, number>()
  let totalBytes = 0
  for (const { data } of nodes) {
    if (data.length === 0) {
      offsets.push(0)
      continue
    }
    const padded = new Uint8Array(align(data.length, 4))
    padded.set(data)
    const key = `${data.length}:${hex(sum(padded))}`
    const known = byHash.get(key)
    if (known !== undefined) {
      offsets.push(known)
      continue
    }
    byHash.set(key, totalBytes)
    offsets.push(totalBytes)
    contents.push([totalBytes, data])
    totalBytes += align(data.length, 8)
  }
  return { offsets, contents, totalBytes }
}

function checksum(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return sum(bytes.subarray(SUMMED_FROM))
}

function sum(source: Uint8Array): Uint8Array<ArrayBuffer> {
  assert(source.length % 4 === 0, 'what is summed is whole words')
  const bytes = source.byteOffset % 4 === 0 ? source : source.slice()
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
  let a = 0x243f6a88
  let b = 0x85a308d3 | 0
  let c = 0x13198a2e
  let d = 0x03707344
  const whole = words.length & ~3
  for (let index = 0; index < whole; index += 4) {
    a = mix(a, words[index] ?? 0)
    b = mix(b, words[index + 1] ?? 0)
    c = mix(c, words[index + 2] ?? 0)
    d = mix(d, words[index + 3] ?? 0)
  }
  for (let index = whole; index < words.length; index++) a = mix(a, words[index] ?? 0)
  const result = new DataView(new ArrayBuffer(CHECKSUM_BYTES))
  for (const [index, lane] of [a, b, c, d].entries()) {
    result.setInt32(index * 4, finish(lane ^ words.length), true)
  }
  return new Uint8Array(result.buffer)
}

function mix(lane: number, word: number): number {
  const mixed = Math.imul(lane ^ word, 0x9e3779b1 | 0)
  return (mixed << 13) | (mixed >>> 19)
}

function finish(lane: number): number {
  let mixed = Math.imul(lane ^ (lane >>> 16), 0x85ebca6b | 0)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35 | 0)
  return mixed ^ (mixed >>> 16)
}

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

function align(length: number, to: number): number {
  return Math.ceil(length / to) * to
}

function invalid(what: string): PgnapError {
  return new PgnapError('ENGINE_ASSETS_INVALID', `the template cannot be used: ${what}`, {
    hint: 'install pgnap again; its engine files are damaged or of another version',
  })
}
