/** A stream of bytes by its lines. */

const LINE_FEED = 0x0a

/** Each line with its line feed; the last one has none if the stream ends without. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  /** Of a line whose end has not come yet; it may be of any length, so it is put together once. */
  let begun: Uint8Array[] = []
  for await (const chunk of chunks) {
    let at = 0
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, at)) {
      const rest = chunk.subarray(at, end + 1)
      yield begun.length === 0 ? bufferOf(rest) : Buffer.concat([...begun, rest])
      begun = []
      at = end + 1
    }
    if (at < chunk.length) begun.push(chunk.subarray(at))
  }
  if (begun.length > 0) yield Buffer.concat(begun)
}

/** The same bytes. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
