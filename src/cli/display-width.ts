/**
 * How wide text is on a terminal, in columns. Node knows the rule (East Asian wide characters and
 * emoji take two columns, combining marks none) but does not export it, so this is the same rule
 * by Unicode properties, for whole grapheme clusters: an emoji of seven code points is still two
 * columns wide.
 */

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' })

/** Clusters that terminals draw over two columns: wide scripts, fullwidth forms, emoji pictures. */
const WIDE = new RegExp(
  [
    '^(?:[\\u1100-\\u115f\\u2e80-\\u303e\\u3041-\\u4dbf\\u4e00-\\ua4cf]',
    '[\\ua960-\\ua97f\\uac00-\\ud7a3]',
    '[\\uf900-\\ufaff\\ufe30-\\ufe6f\\uff01-\\uff60\\uffe0-\\uffe6]',
    '[\\u{1b000}-\\u{1b2ff}\\u{20000}-\\u{3fffd}]',
    '\\p{Emoji_Presentation}',
    '\\p{Extended_Pictographic}\\ufe0f',
    '\\p{Regional_Indicator}{2})',
  ].join('|'),
  'u',
)
const ZERO = /^[\p{Mark}\p{Default_Ignorable_Code_Point}]+$/u
/** Printable ASCII, which is what nearly all text is. */
const PLAIN = /^[\x20-\x7e]*$/

/** Columns that `text`, one line without control characters, takes. */
export function displayWidth(text: string): number {
  if (PLAIN.test(text)) return text.length
  let width = 0
  for (const { segment } of graphemes.segment(text)) {
    if (ZERO.test(segment)) continue
    width += WIDE.test(segment) ? 2 : 1
  }
  return width
}

/**
 * `text` with control characters as escapes (`\x1b`), as psql shows them: data must not be able to
 * move the cursor or to change colours.
 * @param options.newlines keep line breaks and tabs as they are; default: escape them as well
 */
export function visible(text: string, options: { readonly newlines?: boolean } = {}): string {
  if (PLAIN.test(text)) return text
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (character) => {
    if (options.newlines && (character === '\n' || character === '\t')) return character
    if (character === '\n') return '\\n'
    if (character === '\t') return '\\t'
    const code = character.charCodeAt(0)
    return code < 0x100
      ? `\\x${code.toString(16).padStart(2, '0')}`
      : `\\u${code.toString(16).padStart(4, '0')}`
  })
}
