/**
 * JSON whose numbers keep every digit. Numbers that a JavaScript number would change (2^53 + 1,
 * thirty decimals, 1e400) become raw JSON values, which turn into their own text when they are
 * written again.
 *
 * A reviver is told a number's own text, too, but takes fifty times as long as to read: ten seconds
 * for 10 MiB of zeros. So such numbers are looked for outside of texts, put aside, and put back.
 */

/** TypeScript does not know yet how a number's own text is kept. */
const losslessJson = JSON as unknown as { rawJSON(text: string): object }

/** Sixteen digits in a row, with a point among them or not, or an exponent. */
const MAY_LOSE = /[\d.]{16}|\d[eE]/
/** The beginning of a text, or such a number. */
const NUMBER_OR_TEXT = /"|-?\d(?:[\d.]{15}|[\d.]*[eE])[\d.eE+-]*/g
/** Longer numbers are kept as they are, without a look at each digit: there may be millions. */
const COMPARED_CHARS_MAX = 64
/** Stands before the index of a number that was put aside; nobody sends such a text. */
const ASIDE = '\u0001a number of pgnap '

/** As JSON.parse. */
export function parseLossless(text: string): unknown {
  if (!MAY_LOSE.test(text)) return JSON.parse(text)
  const aside: string[] = []
  const value: unknown = JSON.parse(putAside(text, aside))
  return aside.length === 0 ? value : putBack(value, aside)
}

/** `text` with marks in place of numbers that would lose something, which go to `aside`. */
function putAside(text: string, aside: string[]): string {
  const parts: string[] = []
  let kept = 0
  NUMBER_OR_TEXT.lastIndex = 0
  for (;;) {
    const token = NUMBER_OR_TEXT.exec(text)
    if (!token) break
    const [source] = token
    if (source === '"') NUMBER_OR_TEXT.lastIndex = textEnd(text, token.index + 1)
    else if (loses(source)) {
      parts.push(text.slice(kept, token.index), JSON.stringify(`${ASIDE}${aside.length}`))
      aside.push(source)
      kept = token.index + source.length
    }
  }
  parts.push(text.slice(kept))
  return parts.join('')
}

/** Offset behind the quote that ends the text whose body begins at `at`. */
function textEnd(text: string, at: number): number {
  for (;;) {
    const quote = text.indexOf('"', at)
    if (quote < 0) return text.length
    let slashes = 0
    while (text[quote - 1 - slashes] === '\\' && quote - 1 - slashes >= at) slashes++
    at = quote + 1
    if (slashes % 2 === 0) return at
  }
}

/** Throws SyntaxError for what is no number after all. */
function putBack(value: unknown, aside: readonly string[]): unknown {
  if (typeof value === 'string') {
    const source = value.startsWith(ASIDE) ? aside[Number(value.slice(ASIDE.length))] : undefined
    return source === undefined ? value : losslessJson.rawJSON(source)
  }
  if (typeof value !== 'object' || value === null) return value
  const holder = value as Record<string, unknown>
  for (const key of Object.keys(holder)) {
    const inner = putBack(holder[key], aside)
    // Defined and not assigned: a key may be __proto__.
    if (inner !== holder[key]) Object.defineProperty(holder, key, { value: inner })
  }
  return value
}

/** Whether a JavaScript number of this text would be another one, or none at all. */
function loses(source: string): boolean {
  if (source.length > COMPARED_CHARS_MAX) return true
  return decimalOf(String(Number(source))) !== decimalOf(source)
}

/** A number as JSON or JavaScript writes it, as a text that all its forms have in common. */
function decimalOf(source: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(source) ?? []
  const digits = `${whole}${fraction}`.replace(/^0+/, '')
  const significant = digits.replace(/0+$/, '')
  if (significant === '') return '0'
  const zeros = digits.length - significant.length
  return `${sign}${significant}e${Number(exponent) - fraction.length + zeros}`
}
