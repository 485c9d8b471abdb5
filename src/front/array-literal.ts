/**
 * Postgres array literals, such as `{1,NULL,"a \"quoted\" one",{nested}}`: read and written.
 *
 * Reading is total: what is not an array literal as Postgres's array_out writes it gives
 * undefined, and never an exception, because the text may come from a type that only looks like an
 * array. Nesting is followed without recursion, so that no input can exhaust the stack.
 */

/** A value inside an array that has been read: an element, NULL, or an inner array. */
export type ArrayReading<Element> = (Element | null | ArrayReading<Element>)[]

/** Of each dimension, of which Postgres has six at most. */
const BOUNDS = /^(?:\[[+-]?\d+:[+-]?\d+\]){1,6}=/

/**
 * Elements of an array literal, each read by `readElement`; undefined if `text` is not one. Lower
 * bounds (`[0:1]={a,b}`) are accepted and dropped: arrays of JavaScript begin at 0. Boxes are not
 * read: they alone of the built-in types are separated by `;`.
 */
export function readArrayLiteral<Element>(
  text: string,
  readElement: (text: string) => Element,
): ArrayReading<Element> | undefined {
  const bounds = BOUNDS.exec(text)
  const scanner = new Scanner(text, bounds ? bounds[0].length : 0)
  if (!scanner.take('{')) return undefined
  const outer: ArrayReading<Element> = []
  const open = [outer]
  let inner = outer
  // True where an element must come: after a delimiter. False after an opening brace: it may close.
  let wanted = false
  for (;;) {
    if (scanner.take('{')) {
      const next: ArrayReading<Element> = []
      inner.push(next)
      open.push(next)
      inner = next
      wanted = false
      continue
    }
    if (wanted || !scanner.at('}')) {
      const element = scanner.element()
      if (element === undefined) return undefined
      inner.push(element === null ? null : readElement(element))
    }
    // After an element or an inner array: braces close, then a delimiter or the end.
    while (scanner.take('}')) {
      open.pop()
      const parent = open.at(-1)
      if (!parent) return scanner.ended ? outer : undefined
      inner = parent
    }
    if (!scanner.take(',')) return undefined
    wanted = true
  }
}

/**
 * An array as a literal. Elements are what `writeElement` makes of them; its null is NULL. Every
 * text is quoted, which is always allowed and spares knowing when it must be.
 */
export function writeArrayLiteral(
  values: readonly unknown[],
  writeElement: (value: unknown) => string | null,
): string {
  const parts = values.map((value) => {
    if (Array.isArray(value)) return writeArrayLiteral(value, writeElement)
    const text = writeElement(value)
    return text === null ? 'NULL' : `"${text.replaceAll(/["\\]/g, '\\$&')}"`
  })
  return `{${parts.join(',')}}`
}

class Scanner {
  readonly #text: string
  #index: number

  constructor(text: string, index: number) {
    this.#text = text
    this.#index = index
  }

  get ended(): boolean {
    return this.#index === this.#text.length
  }

  at(character: string): boolean {
    return this.#text[this.#index] === character
  }

  take(character: string): boolean {
    if (!this.at(character)) return false
    this.#index++
    return true
  }

  /** An element's text, null for NULL, undefined if there is none. */
  element(): string | null | undefined {
    return this.take('"') ? this.#quoted() : this.#plain()
  }

  #quoted(): string | undefined {
    let value = ''
    let from = this.#index
    for (; this.#index < this.#text.length; this.#index++) {
      const character = this.#text[this.#index]
      if (character === '"') {
        value += this.#text.slice(from, this.#index++)
        return value
      }
      if (character === '\\') {
        value += this.#text.slice(from, this.#index++)
        from = this.#index
      }
    }
    return undefined
  }

  #plain(): string | null | undefined {
    const from = this.#index
    while (!this.ended && !this.#endsPlain()) this.#index++
    const value = this.#text.slice(from, this.#index)
    if (value === '') return undefined
    return value === 'NULL' ? null : value
  }

  #endsPlain(): boolean {
    return '{},"\\'.includes(this.#text[this.#index] ?? '')
  }
}
