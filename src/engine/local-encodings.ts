/**
 * Where characters begin and end in the encodings that Postgres converts from and to UTF-8, and
 * which byte sequences are a character at all. What a character means is said by the tables of
 * Postgres's own libraries (`conversion-functions.ts`).
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

/** Numbers of some. Below UTF-8 are those in which a character may have several bytes. */
export const ENCODING = {
  EUC_JP: 1,
  EUC_CN: 2,
  EUC_TW: 4,
  EUC_JIS_2004: 5,
  UTF8: 6,
  LATIN1: 8,
} as const

/** Bytes that say how long the character is which they begin: of half-width kana, of Plane 3. */
const SS2 = 0x8e
const SS3 = 0x8f
const EUC_MIN = 0xa1
const EUC_MAX = 0xfe
/** Behind SS2, in a Japanese text, and in that of Taiwan. */
const KANA_MAX = 0xdf
const PLANE_MAX = 0xa7

/** How long a character of UTF-8 is, by its first byte. */
export function utf8Length(first: number): number {
  if (first < 0xc0) return 1
  if (first < 0xe0) return 2
  if (first < 0xf0) return 3
  return first < 0xf8 ? 4 : 1
}

/** How long a character is that begins so: what is shown of it if it is none. */
export function characterLength(encoding: number, first: number): number {
  if (encoding === ENCODING.UTF8) return utf8Length(first)
  if (first < 0x80 || encoding > ENCODING.EUC_JIS_2004) return 1
  const isLong = encoding !== ENCODING.EUC_CN
  if (isLong && first === SS2) return encoding === ENCODING.EUC_TW ? 4 : 2
  return isLong && first === SS3 ? 3 : 2
}

/** The length of the character at `at`; -1 if there is none, or not the whole of it. */
export function verifiedLength(
  encoding: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  const first = bytes[at] as number
  if (first < 0x80 || encoding > ENCODING.UTF8) return 1
  const isJapanese = encoding === ENCODING.EUC_JP || encoding === ENCODING.EUC_JIS_2004
  const isOfTaiwan = encoding === ENCODING.EUC_TW
  let length = 2
  let from = at
  if (isJapanese && first === SS2) {
    const second = at + 1 < end ? (bytes[at + 1] as number) : 0
    return second >= EUC_MIN && second <= KANA_MAX ? 2 : -1
  }
  if (isJapanese && first === SS3) {
    length = 3
    from = at + 1
  } else if (isOfTaiwan && first === SS2) {
    length = 4
    from = at + 2
    const plane = at + 1 < end ? (bytes[at + 1] as number) : 0
    if (plane < EUC_MIN || plane > PLANE_MAX) return -1
  } else if (isOfTaiwan) {
    if (first === SS3) return -1
    // Whatever it begins with.
    from = at + 1
  }
  if (at + length > end) return -1
  for (let index = from; index < at + length; index++) {
    const byte = bytes[index] as number
    if (byte < EUC_MIN || byte > EUC_MAX) return -1
  }
  return length
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
