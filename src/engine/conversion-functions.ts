/**
 * What Postgres's libraries that convert between UTF-8 and other encodings call, and the module has
 * not got, since nothing else of it calls that: the two functions which walk their tables, and
 * those which say what is wrong with a text.
 *
 * The tables lie in the library's variables, so in linear memory. A table of characters is a radix
 * tree: one array of numbers, in which each byte of a character but its last leads to the place
 * where the next one is looked up. Where nothing is, all ways lead to a stretch of zeros.
 *
 * An error leaves by Postgres's own longjmp, right through these functions: none of them may hold
 * anything that would have to be given back.
 *
 * Source: Postgres 18, pg_wchar.h (pg_mb_radix_tree and the combined maps), conv.c, mbutils.c.
 */
import { assert } from '../base/assert.ts'
import { utf8 } from '../base/bytes.ts'
import type { EmscriptenModule, WasmFunction, WasmImport } from './emscripten.ts'
import {
  characterLength,
  ENCODING,
  ENCODING_NAMES,
  isUtf8Character,
  utf8Length,
  verifiedLength,
} from '../base/local-encodings.ts'

/** What of an instance is needed. */
export interface ConversionHost {
  readonly module: Pick<EmscriptenModule, 'HEAPU8' | '___stack_pointer'>
  readonly table: WebAssembly.Table
  /** Postgres's functions that raise errors. */
  readonly symbols: Readonly<Record<string, WasmImport>>
}

/** struct pg_mb_radix_tree: arrays of 16 or of 32 bits, and per length the root and the bounds. */
const TREE_32_AT = 4
const TREE_ROOTS_AT = [0, 8, 16, 24, 36]
const TREE_BOUNDS_AT = [0, 12, 20, 28, 40]
/** Entries of a map of two characters and one; three words each, in ascending order. */
const COMBINED_BYTES = 12
const ERROR = 21
/** SQLSTATEs as Postgres packs them: 22021, 22P05. */
const CHARACTER_NOT_IN_REPERTOIRE = packed('22021')
const UNTRANSLATABLE_CHARACTER = packed('22P05')
const SHOWN_BYTES_MAX = 8
const STACK_ALIGNMENT = 16

/** One direction of a conversion, and what it works on. */
interface Conversion {
  readonly treeAt: number
  readonly combinedAt: number
  readonly combinedCount: number
  /** An entry of the function table: what the tree leaves out, by arithmetic; 0: nothing. */
  readonly otherwise: number
}

/** Functions by the names under which libraries import them. */
export function conversionFunctions(host: ConversionHost): Readonly<Record<string, WasmFunction>> {
  return new Converter(host).functions
}

class Converter {
  readonly #host: ConversionHost
  #heap: Uint8Array
  #view: DataView
  /** Where the next character is to be written. */
  #out = 0

  constructor(host: ConversionHost) {
    this.#host = host
    this.#heap = host.module.HEAPU8
    this.#view = new DataView(this.#heap.buffer)
  }

  get functions(): Readonly<Record<string, WasmFunction>> {
    return {
      LocalToUtf: walking((conversion, request) => this.#toUtf(conversion, request)),
      UtfToLocal: walking((conversion, request) => this.#toLocal(conversion, request)),
      pg_utf8_islegal: (at = 0, length = 0) =>
        isUtf8Character(this.#host.module.HEAPU8, at, length) ? 1 : 0,
      report_invalid_encoding: (encoding = 0, at = 0, length = 0) =>
        this.#invalid(encoding, at, length),
      report_untranslatable_char: (from = 0, to = 0, at = 0, length = 0) =>
        this.#untranslatable({ from, to }, at, length),
    }
  }

  /** A memory that has grown has another buffer. Nothing grows it during a conversion. */
  #look(): void {
    this.#heap = this.#host.module.HEAPU8
    if (this.#view.buffer !== this.#heap.buffer) this.#view = new DataView(this.#heap.buffer)
  }

  /**
   * Goes over a text, from one character to the next.
   * @param source its encoding
   * @param step writes what the character at `at` means at `#out`. @returns where the next one
   *   begins; 0: there is no going on
   * @returns how many bytes were converted: all of them, unless errors are not to be raised
   */
  #convert(
    { from, length, to, noError }: Request,
    source: number,
    step: (at: number, end: number) => number,
  ): number {
    this.#look()
    const heap = this.#heap
    const end = from + length
    let at = from
    this.#out = to
    while (at < end && heap[at] !== 0) {
      if ((heap[at] as number) < 0x80) {
        heap[this.#out++] = heap[at++] as number
        continue
      }
      const next = step(at, end)
      if (next === 0) break
      at = next
    }
    if (at < end && !noError) this.#invalid(source, at, end - at)
    heap[this.#out] = 0
    return at - from
  }

  #toUtf(conversion: Conversion, request: Request): number {
    const { encoding, noError } = request
    return this.#convert(request, encoding, (at, end) => {
      const bytes = verifiedLength(encoding, { bytes: this.#heap, at, end })
      if (bytes < 0) return 0
      const out = this.#localAsUtf(conversion, at, bytes, this.#out)
      if (out === this.#out) {
        if (!noError) this.#untranslatable({ from: encoding, to: ENCODING.UTF8 }, at, end - at)
        return 0
      }
      this.#out = out
      return at + bytes
    })
  }

  /** Writes what a character means at `out`. @returns the end of that; `out`: it means nothing */
  #localAsUtf(conversion: Conversion, at: number, bytes: number, out: number): number {
    const { treeAt, combinedAt, combinedCount } = conversion
    const single = treeAt === 0 ? 0 : this.#lookUp(treeAt, at, bytes)
    if (single !== 0) return this.#store(single, out)
    const character = this.#number(at, bytes)
    if (treeAt !== 0 && combinedAt !== 0) {
      const pair = this.#search(combinedAt, combinedCount, character)
      if (pair !== 0) {
        const middle = this.#store(this.#view.getUint32(pair + 4, true), out)
        return this.#store(this.#view.getUint32(pair + 8, true), middle)
      }
    }
    return this.#store(this.#compute(conversion, character), out)
  }

  #toLocal(conversion: Conversion, request: Request): number {
    const { encoding, noError } = request
    const { treeAt, combinedAt } = conversion
    return this.#convert(request, ENCODING.UTF8, (at, end) => {
      const bytes = this.#utfLength(at, end)
      if (bytes === 0) return 0
      const behind = at + bytes
      if (combinedAt !== 0 && behind < end) {
        const second = this.#utfLength(behind, end)
        if (second === 0) {
          // Whether they belong together cannot be told. What is wrong is the second one.
          const isWhole = behind + utf8Length(this.#heap[behind] as number) <= end
          if (isWhole && !noError) this.#invalid(ENCODING.UTF8, behind, end - behind)
          return 0
        }
        const pair = second > 1 ? this.#pairAt(conversion, { at, bytes, second }) : 0
        if (pair !== 0) {
          this.#out = this.#store(this.#view.getUint32(pair + 8, true), this.#out)
          return behind + second
        }
      }
      const code =
        (treeAt === 0 ? 0 : this.#lookUp(treeAt, at, bytes)) ||
        this.#compute(conversion, this.#number(at, bytes))
      if (code === 0) {
        if (!noError) this.#untranslatable({ from: ENCODING.UTF8, to: encoding }, at, end - at)
        return 0
      }
      this.#out = this.#store(code, this.#out)
      return behind
    })
  }

  /** 0: there is no whole character, or it is none. */
  #utfLength(at: number, end: number): number {
    const length = utf8Length(this.#heap[at] as number)
    return at + length <= end && isUtf8Character(this.#heap, at, length) ? length : 0
  }

  /** The entry for two characters that are one in the other encoding; 0: they are not. */
  #pairAt(
    { combinedAt, combinedCount }: Conversion,
    { at, bytes, second }: { readonly at: number; readonly bytes: number; readonly second: number },
  ): number {
    const other = this.#number(at + bytes, second)
    return this.#search(combinedAt, combinedCount, this.#number(at, bytes), other)
  }

  /** Walks the tree of the characters of that length. 0: it has none. */
  #lookUp(treeAt: number, at: number, bytes: number): number {
    const view = this.#view
    const wide = view.getUint32(treeAt + TREE_32_AT, true)
    const numbersAt = wide === 0 ? view.getUint32(treeAt, true) : wide
    const boundsAt = treeAt + (TREE_BOUNDS_AT[bytes] as number)
    for (let index = 0; index < bytes; index++) {
      const byte = this.#heap[at + index] as number
      const lower = this.#heap[boundsAt + index * 2] as number
      if (byte < lower || byte > (this.#heap[boundsAt + index * 2 + 1] as number)) return 0
    }
    let found = view.getUint32(treeAt + (TREE_ROOTS_AT[bytes] as number), true)
    for (let index = 0; index < bytes; index++) {
      const lower = this.#heap[boundsAt + index * 2] as number
      const place = found + (this.#heap[at + index] as number) - lower
      found =
        wide === 0
          ? view.getUint16(numbersAt + place * 2, true)
          : view.getUint32(numbersAt + place * 4, true)
    }
    return found
  }

  /** The entry of a map that begins with these words; 0: there is none. */
  #search(mapAt: number, count: number, first: number, second?: number): number {
    let low = 0
    let high = count - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const entry = mapAt + middle * COMBINED_BYTES
      const difference =
        this.#view.getUint32(entry, true) - first ||
        (second === undefined ? 0 : this.#view.getUint32(entry + 4, true) - second)
      if (difference === 0) return entry
      if (difference < 0) low = middle + 1
      else high = middle - 1
    }
    return 0
  }

  #compute({ otherwise }: Conversion, character: number): number {
    if (otherwise === 0) return 0
    return (this.#host.table.get(otherwise) as WasmFunction)(character) >>> 0
  }

  #number(at: number, bytes: number): number {
    let number = 0
    for (let index = 0; index < bytes; index++) {
      number = ((number << 8) | (this.#heap[at + index] as number)) >>> 0
    }
    return number
  }

  /** The bytes of a character that are not zero, the highest first. */
  #store(code: number, out: number): number {
    let end = out
    for (let shift = 24; shift >= 0; shift -= 8) {
      const byte = (code >>> shift) & 0xff
      if (byte !== 0) this.#heap[end++] = byte
    }
    return end
  }

  #invalid(encoding: number, at: number, length: number): never {
    const bytes = this.#shown(encoding, at, length)
    const text = `invalid byte sequence for encoding "${ENCODING_NAMES[encoding]}": ${bytes}`
    return this.#raise(CHARACTER_NOT_IN_REPERTOIRE, text)
  }

  #untranslatable(way: { from: number; to: number }, at: number, length: number): never {
    const bytes = this.#shown(way.from, at, length)
    const [from, to] = [ENCODING_NAMES[way.from], ENCODING_NAMES[way.to]]
    const text = `character with byte sequence ${bytes} in encoding "${from}"`
    return this.#raise(UNTRANSLATABLE_CHARACTER, `${text} has no equivalent in encoding "${to}"`)
  }

  #shown(encoding: number, at: number, length: number): string {
    const bytes = this.#host.module.HEAPU8
    const whole = characterLength(encoding, { bytes, at, end: at + length })
    return Array.from(
      bytes.slice(at, at + Math.min(whole, SHOWN_BYTES_MAX)),
      (byte) => `0x${byte.toString(16).padStart(2, '0')}`,
    ).join(' ')
  }

  /** As C would: the text is copied by whoever takes it, and nobody comes back. */
  #raise(sqlState: number, text: string): never {
    const { errstart, errcode, errmsg, errfinish } = this.#host.symbols
    assert(errstart && errcode && errmsg && errfinish, 'the module can raise an error')
    const formatAt = this.#push(utf8('%s\0'))
    const textAt = this.#push(utf8(`${text}\0`))
    const argumentsAt = this.#push(new Uint8Array(Uint32Array.of(textAt).buffer))
    errstart(ERROR, 0)
    errcode(sqlState)
    errmsg(formatAt, argumentsAt)
    errfinish(0, 0, 0)
    assert(false, 'an error of Postgres does not come back')
  }

  #push(bytes: Uint8Array): number {
    const { module } = this.#host
    const room = Math.ceil(bytes.length / STACK_ALIGNMENT) * STACK_ALIGNMENT
    const at = Number(module.___stack_pointer.value) - room
    module.___stack_pointer.value = at
    module.HEAPU8.set(bytes, at)
    return at
  }
}

interface Request {
  readonly from: number
  readonly length: number
  readonly to: number
  readonly encoding: number
  readonly noError: boolean
}

/** The two functions that walk tables are called alike. */
function walking(walk: (conversion: Conversion, request: Request) => number): WasmFunction {
  return (from = 0, length = 0, to = 0, treeAt = 0, combinedAt = 0, ...rest) => {
    const [combinedCount = 0, otherwise = 0, encoding = 0, noError = 0] = rest
    const conversion = { treeAt, combinedAt, combinedCount, otherwise }
    return walk(conversion, { from, length, to, encoding, noError: noError !== 0 })
  }
}

/** Five letters of six bits each. */
function packed(sqlState: string): number {
  return Array.from(sqlState).reduce(
    (sum, letter, index) => sum | (((letter.charCodeAt(0) - 48) & 0x3f) << (index * 6)),
    0,
  )
}
