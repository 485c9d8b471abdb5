/**
 * Encodings in which the second byte of a character may be an ASCII one: a letter, a backslash, in
 * none of them a quote. What looks for words of SQL has to pass over those bytes.
 *
 * Postgres itself converts a statement before it reads it, so it never meets them.
 *
 * Source: Postgres manual, section 23.3.1 (what only clients may have); wchar.c.
 */

/** How many bytes a character has that begins with a byte above 127. */
const LENGTHS: Readonly<Record<string, (first: number, second: number) => number>> = {
  SJIS: (first) => (first >= 0xa1 && first <= 0xdf ? 1 : 2),
  BIG5: () => 2,
  GBK: () => 2,
  UHC: () => 2,
  GB18030: (_, second) => (second >= 0x30 && second <= 0x39 ? 4 : 2),
}
/** Part of a word, in whichever encoding. */
const LETTER = 0xff

/** Text whose ASCII bytes are ASCII characters, as long as it was; itself, if it is so already. */
export function withoutTrails(text: Uint8Array, encoding: string | undefined): Uint8Array {
  const lengthOf = encoding === undefined ? undefined : LENGTHS[encoding]
  if (!lengthOf) return text
  const copy = new Uint8Array(text)
  for (let at = 0; at < copy.length;) {
    const first = copy[at] ?? 0
    const next = at + (first < 0x80 ? 1 : lengthOf(first, copy[at + 1] ?? 0))
    // The zero at its end is none of them, whatever is in front of it.
    for (at++; at < next && copy[at] !== 0; at++) copy[at] = LETTER
  }
  return copy
}
