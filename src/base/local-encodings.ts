/**
 * Where characters begin and end in the encodings that Postgres converts from and to UTF-8, and
 * which byte sequences are a character at all. What a character means is said by the tables of
 * Postgres's own libraries (`engine/conversion-functions.ts`).
 *
 * Source: Postgres 18, pg_wchar.h (enum pg_enc), wchar.c.
 */

/** What they are called, by Postgres's number. */
export const ENCODING_NAMES: readonly string[] = (
  'SQL_ASCII EUC_JP EUC_CN EUC_KR EUC_TW EUC_JIS_2004 UTF8 MULE_INTERNAL LATIN1 LATIN2 LATIN3 ' +
  'LATIN4 LATIN5 LATIN6 LATIN7 LATIN8 LATIN9 LATIN10 WIN1256 WIN1258 WIN866 WIN874 KOI8R WIN1251 ' +
  'WIN1252 ISO_8859_5 ISO_8859_6 ISO_8859_7 ISO_8859_8 WIN1250 WIN1253 WIN1254 WIN1255 WIN1257 ' +
  'KOI8U SJIS BIG5 GBK UHC GB18030 JOHAB SHIFT_JIS_2004'
).split(' ')

/** Numbers of some. */
export const ENCODING = {
  EUC_JP: 1,
  EUC_CN: 2,
  EUC_KR: 3,
  EUC_TW: 4,
  EUC_JIS_2004: 5,
  UTF8: 6,
  LATIN1: 8,
  SJIS: 35,
  BIG5: 36,
  GBK: 37,
  UHC: 38,
  GB18030: 39,
} as const

/** Bytes that say how long the character is which they begin: of half-width kana, of Plane 3. */
const SS2 = 0x8e
const SS3 = 0x8f

/** Part of a text, of which a character begins at `at`. */
interface Place {
  readonly bytes: Uint8Array
  readonly at: number
  readonly end: number
}

/** How an encoding is cut into characters, of which those below 0x80 have one byte. */
interface Cut {
  /** Of a character that begins so, and may go on so: what is shown of it if it is none. */
  length(first: number, second: number): number
  /** Whether so many bytes are a character. */
  isOne(place: Place, length: number): boolean
}

const isEuc = (byte = 0): boolean => byte >= 0xa1 && byte <= 0xfe
const isDigit = (byte = 0): boolean => byte >= 0x30 && byte <= 0x39
const areEuc = ({ bytes }: Place, from: number, to: number): boolean => {
  for (let index = from; index < to; index++) if (!isEuc(bytes[index])) return false
  return true
}

const ONE_BYTE: Cut = { length: () => 1, isOne: () => true }

const JAPANESE: Cut = {
  length: (first) => (first === SS3 ? 3 : 2),
  isOne: (place, length) => {
    const { bytes, at } = place
    const second = bytes[at + 1] ?? 0
    if (bytes[at] === SS2) return second >= 0xa1 && second <= 0xdf
    return areEuc(place, bytes[at] === SS3 ? at + 1 : at, at + length)
  },
}

const KOREAN: Cut = {
  length: () => 2,
  isOne: (place) => areEuc(place, place.at, place.at + 2),
}

const OF_TAIWAN: Cut = {
  length: (first) => (first === SS2 ? 4 : first === SS3 ? 3 : 2),
  isOne: (place, length) => {
    const { bytes, at } = place
    const plane = bytes[at + 1] ?? 0
    if (bytes[at] === SS3) return false
    if (bytes[at] !== SS2) return isEuc(plane)
    return plane >= 0xa1 && plane <= 0xa7 && areEuc(place, at + 2, at + length)
  },
}

const SHIFTED: Cut = {
  length: (first) => (first >= 0xa1 && first <= 0xdf ? 1 : 2),
  isOne: ({ bytes, at }, length) => {
    const [first = 0, second = 0] = bytes.subarray(at, at + 2)
    if (length === 1) return true
    const isHead = (first >= 0x81 && first <= 0x9f) || (first >= 0xe0 && first <= 0xfc)
    return isHead && ((second >= 0x40 && second <= 0x7e) || (second >= 0x80 && second <= 0xfc))
  },
}

/** One pair is kept free to stand for what is none. */
const ANY_TWO: Cut = {
  length: () => 2,
  isOne: ({ bytes, at }) => bytes[at + 1] !== 0 && !(bytes[at] === 0x8d && bytes[at + 1] === 0x20),
}

const OF_CHINA: Cut = {
  length: (_, second) => (isDigit(second) ? 4 : 2),
  isOne: ({ bytes, at }, length) => {
    const [first = 0, second = 0, third = 0, fourth = 0] = bytes.subarray(at, at + length)
    const isLead = (byte: number): boolean => byte >= 0x81 && byte <= 0xfe
    if (length === 4) return isLead(first) && isLead(third) && isDigit(fourth)
    return isLead(first) && second >= 0x40 && second !== 0x7f && second <= 0xfe
  },
}

const CUTS: Readonly<Record<number, Cut>> = {
  [ENCODING.EUC_JP]: JAPANESE,
  [ENCODING.EUC_CN]: KOREAN,
  [ENCODING.EUC_KR]: KOREAN,
  [ENCODING.EUC_TW]: OF_TAIWAN,
  [ENCODING.EUC_JIS_2004]: JAPANESE,
  [ENCODING.SJIS]: SHIFTED,
  [ENCODING.BIG5]: ANY_TWO,
  [ENCODING.GBK]: ANY_TWO,
  [ENCODING.UHC]: ANY_TWO,
  [ENCODING.GB18030]: OF_CHINA,
}

/** How long a character of UTF-8 is, by its first byte. */
export function utf8Length(first: number): number {
  if (first < 0xc0) return 1
  if (first < 0xe0) return 2
  if (first < 0xf0) return 3
  return first < 0xf8 ? 4 : 1
}

/** How long a character is that begins so: what is shown of it if it is none. */
export function characterLength(encoding: number, { bytes, at, end }: Place): number {
  const first = bytes[at] ?? 0
  if (encoding === ENCODING.UTF8) return Math.min(utf8Length(first), end - at)
  if (first < 0x80) return 1
  const second = at + 1 < end ? (bytes[at + 1] ?? 0) : 0
  return Math.min((CUTS[encoding] ?? ONE_BYTE).length(first, second), end - at)
}

/** The length of the character that begins there; -1 if there is none, or not the whole of it. */
export function verifiedLength(encoding: number, place: Place): number {
  const { bytes, at, end } = place
  const first = bytes[at] ?? 0
  if (first < 0x80) return 1
  const cut = CUTS[encoding] ?? ONE_BYTE
  const length = cut.length(first, at + 1 < end ? (bytes[at + 1] ?? 0) : 0)
  return at + length <= end && cut.isOne(place, length) ? length : -1
}

/** Whether the bytes are one character of UTF-8, in its shortest form and no surrogate. */
export function isUtf8Character(bytes: Uint8Array, at: number, length: number): boolean {
  const first = bytes[at] as number
  for (let index = at + 1; index < at + length; index++) {
    if (((bytes[index] as number) & 0xc0) !== 0x80) return false
  }
  const second = bytes[at + 1] as number
  switch (length) {
    case 1:
      return first < 0x80
    case 2:
      return first >= 0xc2
    case 3:
      return (first !== 0xe0 || second >= 0xa0) && (first !== 0xed || second <= 0x9f)
    case 4:
      return (
        first <= 0xf4 && (first !== 0xf0 || second >= 0x90) && (first !== 0xf4 || second <= 0x8f)
      )
    default:
      return false
  }
}
