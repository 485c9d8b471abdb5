import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { layOutLibraries, pointedTo } from './library-layout.ts'
import { linkingNeeds } from './wasm-module.ts'

interface Needs {
  readonly memoryBytes: number
  /** As a power of two. */
  readonly alignment: number
  readonly ownEntries: number
}

const HEADER: readonly number[] = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]

/** A library with functions of these names, which asks for the addresses of some. */
function library(
  names: readonly string[],
  { memoryBytes, alignment, ownEntries }: Needs = { memoryBytes: 0, alignment: 0, ownEntries: 0 },
  asked: readonly string[] = [],
): { readonly bytes: Uint8Array<ArrayBuffer>; readonly module: WebAssembly.Module } {
  const sizes = [memoryBytes, alignment, ownEntries, 0].flatMap(leb128)
  const bytes = Uint8Array.from([
    ...HEADER,
    // Another part first: what is looked for need not stand at the beginning.
    ...section(0, [...text('dylink.0'), 4, 2, 7, 7, 1, sizes.length, ...sizes]),
    ...section(1, [1, 0x60, 0, 0]),
    ...section(2, vector(asked.map((name) => [...text('GOT.func'), ...text(name), 3, 0x7f, 1]))),
    ...section(3, vector(names.map(() => [0]))),
    ...section(7, vector(names.map((name, index) => [...text(name), 0, ...leb128(index)]))),
    ...section(10, vector(names.map(() => [2, 0, 0x0b]))),
  ])
  return { bytes, module: new WebAssembly.Module(bytes) }
}

function leb128(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb128(value >>> 7)]
}

const text = (name: string): number[] => [...leb128(name.length), ...Buffer.from(name)]
const section = (id: number, content: readonly number[]): number[] => [
  id,
  ...leb128(content.length),
  ...content,
]
const vector = (items: readonly (readonly number[])[]): number[] => [
  ...leb128(items.length),
  ...items.flat(),
]

test('an entry is for what can be pointed to, in the order of the exports', () => {
  const names = ['inner', 'asked', 'pg_finfo_add', 'add', '_PG_init', 'Pg_magic_func', 'SSL_new']
  const { module } = library(names, undefined, ['asked', 'of_the_engine'])
  assert.deepEqual(pointedTo(module), ['asked', 'pg_finfo_add', 'add', '_PG_init', 'Pg_magic_func'])
})

test('what a library needs is read wherever it says so', () => {
  const needs = { memoryBytes: 715_728, alignment: 4, ownEntries: 3_091 }
  const { bytes } = library(['f'], needs)
  assert.deepEqual(linkingNeeds(bytes), {
    memoryBytes: 715_728,
    alignmentBytes: 16,
    ownEntries: 3_091,
  })
  assert.throws(() => linkingNeeds(bytes.subarray(0, 8)), /how it is to be linked/)
})

test('no two libraries share a byte or an entry, and each lies as it has to', () => {
  const needs = fc.record({
    memoryBytes: fc.nat(100_000),
    alignment: fc.nat(4),
    ownEntries: fc.nat(5_000),
  })
  const libraries = fc.array(fc.record({ needs, count: fc.nat(5) }), { maxLength: 8 })
  fc.assert(
    fc.property(libraries, (all) => {
      const made = all.map(({ needs: own, count }, index) => {
        const names = Array.from({ length: count }, (_, at) => `pg_finfo_${at}`)
        return [`/${index}.so`, library(names, own)] as const
      })
      const layout = layOutLibraries(new Map(made))
      let memoryEnd = 0
      let tableEnd = 0
      for (const [index, { needs: own, count }] of all.entries()) {
        const place = layout.places[`/${index}.so`]
        assert.ok(place)
        assert.ok(place.memoryAt >= memoryEnd && place.memoryAt - memoryEnd < 16)
        assert.equal(place.memoryAt % 2 ** own.alignment, 0)
        assert.equal(place.tableAt, tableEnd)
        assert.equal(place.entries, own.ownEntries + count)
        memoryEnd = place.memoryAt + own.memoryBytes
        tableEnd += place.entries
      }
      assert.ok(layout.memoryBytes >= memoryEnd)
      assert.equal(layout.entries, tableEnd)
    }),
  )
})

test('a library that wants more than the room is aligned to is refused by the build', () => {
  const wide = library([], { memoryBytes: 64, alignment: 5, ownEntries: 0 })
  assert.throws(() => layOutLibraries(new Map([['/wide.so', wide]])), /can be aligned/)
})
