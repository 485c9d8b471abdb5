/**
 * Encodings of clients in one backend, without a server: every character of each against a decoder
 * that is not ours, what is no character, and whose words are in which encoding when.
 */
import assert from 'node:assert/strict'
import { before, beforeEach, test } from 'node:test'
import * as fc from 'fast-check'
import { fromUtf8, utf8 } from '../../src/base/bytes.ts'
import { CONVERSIONS } from '../../src/engine/recipe.ts'
import { ENCODING_NAMES } from '../../src/base/local-encodings.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { createEngine, loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { runSql, say, valueOf } from '../support/messages.ts'
import { queryMessage, readAnswer } from '../../src/front/wire/result.ts'

let engine: WasmEngine
let slot: WasmSlot
before(async () => {
  engine = await createEngine(await loadEngineParts(), {
    clock: systemClock,
    random: systemRandom,
    verifySwaps: true,
  })
  slot = await engine.createSlot()
})
beforeEach(() => {
  if (slot.canNap) slot.unload()
  slot.begin(newFiles())
})
const newFiles = (): TenantFiles =>
  TenantFiles.inMemory({ template: engine.template, clock: systemClock })

/** A client, by its number. */
const CLIENT = 7
const SINGLE = ENCODING_NAMES.slice(8, 35)
/** What a decoder calls it, where that is not the same name. */
const LABELS: Readonly<Record<string, string>> = {
  LATIN2: 'iso-8859-2',
  LATIN3: 'iso-8859-3',
  LATIN4: 'iso-8859-4',
  LATIN6: 'iso-8859-10',
  LATIN7: 'iso-8859-13',
  LATIN8: 'iso-8859-14',
  LATIN9: 'iso-8859-15',
  LATIN10: 'iso-8859-16',
  WIN866: 'ibm866',
  KOI8R: 'koi8-r',
  KOI8U: 'koi8-u',
  EUC_JP: 'euc-jp',
  EUC_KR: 'euc-kr',
  // What it has is a part of that.
  EUC_CN: 'gbk',
  SJIS: 'shift_jis',
  UHC: 'euc-kr',
}
/** Where decoders go by later tables than Postgres. */
const OTHERWISE: Readonly<Record<string, Readonly<Record<number, string | null>>>> = {
  KOI8U: { 0xae: '╝', 0xbe: '╬' },
  WIN1255: { 0xca: null },
}

function decoderOf(name: string): (bytes: Uint8Array) => string {
  // By these names decoders mean the code pages of Windows that have more characters.
  if (name === 'LATIN1') return (bytes) => Buffer.from(bytes).toString('latin1')
  if (name === 'LATIN5') return (bytes) => turkish(Buffer.from(bytes).toString('latin1'))
  const label = LABELS[name] ?? name.toLowerCase().replace(/^win/, 'windows-').replaceAll('_', '-')
  const decoder = new TextDecoder(label)
  return (bytes) => decoder.decode(bytes)
}

/** ISO 8859-9 is ISO 8859-1 with six others. */
function turkish(text: string): string {
  return text.replaceAll(/[ÐÝÞðýþ]/g, (letter) => 'ĞİŞğış'['ÐÝÞðýþ'.indexOf(letter)] ?? '')
}

/** What each of these byte sequences means to Postgres; null: nothing. */
function meaningsOf(name: string, sequences: readonly Uint8Array[]): (string | null)[] {
  runSql(
    slot,
    `create or replace function meaning(bytes bytea) returns text language plpgsql as $$
      begin return convert_from(bytes, '${name}'); exception
        when untranslatable_character or character_not_in_repertoire then return null; end $$`,
  )
  const list = sequences.map((bytes) => Buffer.from(bytes).toString('hex')).join()
  const { result, error } = runSql(
    slot,
    `select meaning(decode(each, 'hex')) from unnest(string_to_array('${list}', ',')) each`,
  )
  assert.equal(error, undefined)
  return result.rows.map(([text]) => text ?? null)
}

for (const name of SINGLE) {
  test(`each byte of ${name} means what others say, and comes back`, () => {
    const bytes = Array.from({ length: 255 }, (_, index) => Uint8Array.of(index + 1))
    const decode = decoderOf(name)
    const meanings = meaningsOf(name, bytes)
    for (const [index, meaning] of meanings.entries()) {
      const byte = index + 1
      const others = decode(Uint8Array.of(byte))
      const own = OTHERWISE[name]?.[byte]
      if (own !== undefined) assert.equal(meaning, own)
      else if (meaning !== null) assert.equal(meaning, others, `0x${byte.toString(16)}`)
      // They fill the gaps with control characters, or say that there is nothing.
      else assert.match(others, /[\u0080-\u009f\ufffd]/, `0x${byte.toString(16)}`)
    }
    const whole = meanings.filter((text) => text !== null).join('')
    const back = valueOf(slot, `select convert_to(U&'${escaped(whole)}', '${name}')`)
    const expected = bytes.filter((_, index) => meanings[index] !== null)
    assert.equal(back, `\\x${Buffer.concat(expected).toString('hex')}`)
  })
}

const SEVERAL = 'EUC_JP EUC_CN EUC_KR EUC_TW EUC_JIS_2004 SJIS BIG5 GBK UHC GB18030'.split(' ')

const escaped = (text: string): string =>
  Array.from(text, (c) => `\\+${(c.codePointAt(0) ?? 0).toString(16).padStart(6, '0')}`).join('')

for (const [name, most] of [
  ['EUC_JP', 6_879],
  ['EUC_KR', 8_226],
  ['EUC_CN', 7_445],
  ['SJIS', 6_879],
  ['BIG5', 13_000],
  ['GBK', 21_000],
  ['UHC', 17_000],
  ['GB18030', 23_900],
] as const) {
  test(`each character of two bytes of ${name} means what others say, and comes back`, () => {
    const isEuc = name.startsWith('EUC')
    const from = (start: number): number[] =>
      Array.from({ length: 0xff - start }, (_, index) => start + index)
    // Of Shift JIS some of them are a character alone.
    const isFirst = (byte: number): boolean => name !== 'SJIS' || byte < 0xa0 || byte > 0xdf
    const sequences = from(isEuc ? 0xa1 : 0x81)
      .filter(isFirst)
      .flatMap((first) => from(isEuc ? 0xa1 : 0x40).map((second) => Uint8Array.of(first, second)))
    const decode = decoderOf(name)
    const meanings = meaningsOf(name, sequences)
    let different = 0
    let known = 0
    for (const [index, meaning] of meanings.entries()) {
      if (meaning === null) continue
      known++
      const others = decode(sequences[index] ?? new Uint8Array(0))
      // Decoders here know less of the code pages of Windows than Postgres does.
      if (meaning !== others && !/[\u0080-\u009f\ufffd]/.test(others)) different++
    }
    assert.ok(known >= most, `${known} characters`)
    // Dashes, tildes, the yen and the won are matters of taste, and so is which BIG5 is meant.
    assert.ok(different < (name === 'BIG5' ? 300 : 30), `${different} of ${known} are others`)
    const whole = meanings.filter((text) => text !== null)
    // What is there twice, from two makers' tables, comes back as one of them.
    const back = valueOf(slot, `select convert_to('${whole.join('')}', '${name}')`) ?? ''
    assert.deepEqual(meaningsOf(name, [Buffer.from(back.slice(2), 'hex')]), [whole.join('')])
    const twice = whole.length - new Set(whole).size
    const text = Buffer.concat(sequences.filter((_, index) => meanings[index] !== null))
    let other = 0
    for (const [index, byte] of Buffer.from(back.slice(2), 'hex').entries()) {
      if (byte !== text[index]) other++
    }
    assert.ok(other <= 2 * twice, `${other} bytes for ${twice} that are there twice`)
  })
}

test('characters of three and four bytes, and two that are one elsewhere, come back', () => {
  for (const [name, bytes, text] of [
    ['EUC_JP', '8fb0a1', '丂'],
    ['EUC_JP', '8eb1', 'ｱ'],
    ['EUC_TW', '8ea2a1a1', '乂'],
    ['EUC_TW', 'c4a1', '一'],
    ['EUC_JIS_2004', 'a4f7', 'か゚'],
    ['EUC_JIS_2004', '8fa1a1', '𠂉'],
    ['EUC_JIS_2004', 'a4ab', 'か'],
    ['EUC_JIS_2004', 'a4aba4f741', 'かか゚A'],
    ['GB18030', '95329034', '𠂊'],
    ['SJIS', 'b1955c5c', 'ｱ表\\'],
  ] as const) {
    assert.equal(valueOf(slot, `select convert_from('\\x${bytes}', '${name}')`), text, name)
    assert.equal(valueOf(slot, `select convert_to('${text}', '${name}')`), `\\x${bytes}`, name)
  }
})

test('any text is converted whole, or refused as Postgres does; nothing ends the backend', () => {
  const names = [...SINGLE, ...SEVERAL]
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
      fc.boolean(),
      (name, bytes, isHigh) => {
        const given = bytes.map((byte) => (isHigh ? byte | 0x80 : byte))
        const hex = Buffer.from(given).toString('hex')
        const { error, result } = runSql(slot, `select convert_from('\\x${hex}', '${name}')`)
        if (error) return assert.match(error.sqlState, /^22(021|P05)$/)
        const text = result.rows[0]?.[0] ?? ''
        const back = valueOf(slot, `select convert_to(U&'${escaped(text)}', '${name}')`)
        // Several have some characters twice, or as two that are also one.
        if (!SEVERAL.includes(name)) assert.equal(back, `\\x${hex}`)
        else assert.equal(valueOf(slot, `select convert_from('${back}', '${name}')`), text)
      },
    ),
    { numRuns: 1500 },
  )
})

/** The answer to a client of that number, as bytes. */
const askAs = (client: number, messages: Uint8Array): Uint8Array =>
  new Uint8Array(slot.run(messages, client))

test('a client talks in its encoding, the pool in UTF-8, in every state of a transaction', () => {
  const asClient = (sql: string): Uint8Array => {
    const text = Buffer.from(sql, 'latin1')
    return askAs(CLIENT, frameOf(text))
  }
  const seen = (answer: Uint8Array): string => Buffer.from(answer).toString('latin1')
  asClient(`set client_encoding = 'LATIN1'`)
  assert.equal(slot.session.clientEncoding, 'LATIN1')
  for (const state of ['idle', 'transaction', 'failed'] as const) {
    if (state !== 'idle') asClient('begin')
    if (state === 'failed') asClient('select 1/0')
    if (state !== 'failed') {
      assert.ok(seen(asClient(`select 'é'`)).includes('é'), state)
      assert.equal(valueOf(slot, `select 'é'`), 'é', state)
      // Who has no number that clients know talks UTF-8.
      assert.equal(readAnswer(askAs(-1, queryMessage(`select 'é'`))).result.rows[0]?.[0], 'é')
    }
    assert.ok(seen(asClient(`select "é"`)).includes(state === 'failed' ? '25P02' : '"é"'), state)
    asClient('rollback')
  }
  const files = newFiles()
  assert.ok(slot.canNap)
  const image = slot.nap()
  slot.resume(files, image)
  assert.equal(valueOf(slot, `select 'é'`), 'é')
  assert.ok(seen(asClient(`select 'ü'`)).includes('ü'))
  slot.run(say.query(`set client_encoding = 'WIN1252'`))
  assert.equal(valueOf(slot, `select '€'`), '€')
  assert.ok(seen(asClient(`select '\x80'`)).includes('\x80'))
})

function frameOf(text: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(text.length + 6)
  bytes[0] = 0x51
  new DataView(bytes.buffer).setInt32(1, text.length + 5)
  bytes.set(text, 5)
  return bytes
}

test('texts are converted beside what runs, both ways, if there is such a text', () => {
  runSql(
    slot,
    `set client_encoding = 'EUC_JP'; set client_encoding = 'LATIN9'; reset client_encoding`,
  )
  const { session } = slot
  const long = 'é€'.repeat(5000)
  const there = session.convert(utf8(long), 'UTF8', 'LATIN9')
  assert.deepEqual(there?.slice(0, 3), Uint8Array.of(0xe9, 0xa4, 0xe9))
  assert.equal(fromUtf8(session.convert(there, 'LATIN9', 'UTF8') ?? new Uint8Array(0)), long)
  assert.equal(session.convert(utf8('日'), 'UTF8', 'LATIN9'), undefined)
  assert.equal(session.convert(Uint8Array.of(0xc6), 'EUC_JP', 'UTF8'), undefined)
  // Nobody has had that here.
  assert.equal(session.convert(utf8('é'), 'UTF8', 'LATIN2'), undefined)
})

test('an image of who has loaded a conversion fits a slot that has not', async () => {
  runSql(slot, `set client_encoding = 'EUC_KR'`)
  const other = await engine.createSlot()
  const image = slot.nap()
  slot.begin(newFiles())
  other.resume(newFiles(), image)
  const euro = Buffer.from(other.run(queryMessage(`select U&'\\20AC'`), CLIENT))
  assert.ok(euro.includes(Buffer.from('a2e6', 'hex')))
  other.unload()
})

test('the libraries are those of the stock package, and no more than they are', () => {
  const libraries = CONVERSIONS.map((name) => name.replace('.so', ''))
  for (const [name, works] of [
    ['utf8_and_win', true],
    ['utf8_and_johab', false],
  ] as const) {
    assert.equal(libraries.includes(name), works)
    const path = `/pglite/lib/postgresql/${name}`
    assert.equal(runSql(slot, `load '${path}'`).error === undefined, works, name)
  }
})
