/**
 * zstd by `node:zlib`, which is loaded when the first image is read or written: a thread that
 * starts has no use for it, and it takes four milliseconds.
 *
 * What comes out is written into one buffer of the right size. Node's own are of 16 KiB, and for
 * each that is full another thread is asked again: of an image of 1.4 MB that is 3 ms of 5.
 */
import { promisify } from 'node:util'

const FASTEST_LEVEL = 1
/** Smaller buffers Node refuses. */
const BUFFER_BYTES_MIN = 64
/** Beyond, several in a row cost nothing any more. */
const BUFFER_BYTES_MAX = 16_777_216

const zlib = (): typeof import('node:zlib') => process.getBuiltinModule('node:zlib')

export async function compress(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const { constants, zstdCompress } = zlib()
  const params = { [constants.ZSTD_c_compressionLevel]: FASTEST_LEVEL }
  // Memory of Postgres becomes a third as large, or less.
  return promisify(zstdCompress)(bytes, { params, chunkSize: bufferBytes(bytes.length / 2) })
}

/** @param bytesMax more than this is an error */
export async function decompress(
  bytes: Uint8Array,
  bytesMax: number,
): Promise<Uint8Array<ArrayBuffer>> {
  return promisify(zlib().zstdDecompress)(bytes, outputOf(bytesMax))
}

/** As {@link decompress}, while nothing else goes on in this thread. */
export function decompressNow(bytes: Uint8Array, bytesMax: number): Uint8Array<ArrayBuffer> {
  return zlib().zstdDecompressSync(bytes, outputOf(bytesMax))
}

function outputOf(bytesMax: number): { maxOutputLength: number; chunkSize: number } {
  // A buffer that is full is taken for one that was too small.
  return { maxOutputLength: bytesMax, chunkSize: bufferBytes(bytesMax + 1) }
}

function bufferBytes(wanted: number): number {
  return Math.min(Math.max(Math.ceil(wanted), BUFFER_BYTES_MIN), BUFFER_BYTES_MAX)
}
