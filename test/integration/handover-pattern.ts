/** Bytes that tell where they belong, so that a lost, doubled or swapped piece is seen. */

/** `length` bytes; the same for the same place, with a period that divides no buffer size. */
export function patternBytes(length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4))
  for (let index = 0; index < words.length; index++) words[index] = Math.imul(index, 2_654_435_761)
  return new Uint8Array(words.buffer, 0, length)
}
