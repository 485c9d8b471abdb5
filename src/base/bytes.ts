/** Small operations on byte arrays that every room needs. */
const encoder = new TextEncoder()
// Postgres's texts have no byte order mark: a leading U+FEFF is a character like any other.
const decoder = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true })

/** In memory of its own, never shared. */
export const utf8 = (text: string): Uint8Array<ArrayBuffer> =>
  encoder.encode(text) as Uint8Array<ArrayBuffer>

export const fromUtf8 = (bytes: Uint8Array): string => decoder.decode(bytes)

const oneByOne = new TextDecoder('windows-1252')

/**
 * A character for each byte, ASCII as it is and all others beyond it: for text whose encoding is
 * not known, or does not matter. No two are the same.
 */
export const fromBytes = (bytes: Uint8Array): string => oneByOne.decode(bytes)

/** The text from `at` to the next zero byte. `bytes` may be memory that threads share. */
export const textAt = (bytes: Uint8Array, at: number): string =>
  fromUtf8(bytes.slice(at, bytes.indexOf(0, at)))

/** One new array holding all `parts` in order. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(lengthOfAll(parts))
  putAll(parts, whole)
  return whole
}

export function lengthOfAll(parts: readonly Uint8Array[]): number {
  let length = 0
  for (const part of parts) length += part.length
  return length
}

/** Writes all `parts` in order to the front of `whole`, which has room for them. */
export function putAll(parts: readonly Uint8Array[], whole: Uint8Array): void {
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && isPrefix(a, b)
}

/** Whether `whole` begins with `prefix`. */
export function isPrefix(prefix: Uint8Array, whole: Uint8Array): boolean {
  const length = prefix.length
  if (length > whole.length) return false
  let index = 0
  // Four bytes at a time where both are aligned: pages almost always are.
  if (((prefix.byteOffset | whole.byteOffset) & 3) === 0) {
    const words = length >> 2
    const a = new Int32Array(prefix.buffer, prefix.byteOffset, words)
    const b = new Int32Array(whole.buffer, whole.byteOffset, words)
    for (let word = 0; word < words; word++) if (a[word] !== b[word]) return false
    index = words << 2
  }
  for (; index < length; index++) if (prefix[index] !== whole[index]) return false
  return true
}

/** Length of `bytes` without its trailing zeros. */
export function trimmedLength(bytes: Uint8Array): number {
  let length = bytes.length
  if (((bytes.byteOffset | length) & 3) === 0) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, length >> 2)
    let count = words.length
    while (count > 0 && words[count - 1] === 0) count--
    length = count << 2
  }
  while (length > 0 && bytes[length - 1] === 0) length--
  return length
}

/**
 * Bytes for whoever awaits them. Those that come by promise are a copy; those that come directly
 * are a view that somebody may overwrite before an `await` goes on, so they are copied now.
 */
export function keptBytes(
  bytes: Uint8Array | Promise<Uint8Array>,
): Uint8Array | Promise<Uint8Array> {
  return bytes instanceof Promise ? bytes : new Uint8Array(bytes)
}
