/**
 * Encodings in which the second byte of a character may be an ASCII one: a letter, a backslash, in
 * none of them a quote. What looks for words of SQL has to pass over those bytes.
 *
 * Postgres itself converts a statement before it reads it, so it never meets them.
 *
 * Source: Postgres manual, section 23.3.1 (what only clients may have); wchar.c.
 */
import { characterLength, ENCODING_NAMES } from '../../base/local-encodings.ts'

const THEIRS: ReadonlySet<string> = new Set(['SJIS', 'BIG5', 'GBK', 'UHC', 'GB18030'])
/** Part of a word, in whichever encoding. */
const LETTER = 0xff

/** Text whose ASCII bytes are ASCII characters, as long as it was; itself, if it is so already. */
export function withoutTrails(text: Uint8Array, encoding: string | undefined): Uint8Array {
  if (encoding === undefined || !THEIRS.has(encoding)) return text
  const number = ENCODING_NAMES.indexOf(encoding)
  const copy = new Uint8Array(text)
  for (let at = 0; at < copy.length;) {
    const next = at + characterLength(number, { bytes: copy, at, end: copy.length })
    // The zero at its end is none of them, whatever is in front of it.
    for (at++; at < next && copy[at] !== 0; at++) copy[at] = LETTER
  }
  return copy
}
