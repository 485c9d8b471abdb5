/**
 * zstd by `node:zlib`, which is loaded when the first image is read or written: a thread that
 * starts has no use for it, and it takes four milliseconds.
 */
import { promisify } from 'node:util'

const FASTEST_LEVEL = 1

const zlib = (): typeof import('node:zlib') => process.getBuiltinModule('node:zlib')

export async function compress(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const { constants, zstdCompress } = zlib()
  const params = { [constants.ZSTD_c_compressionLevel]: FASTEST_LEVEL }
  return promisify(zstdCompress)(bytes, { params })
}

/** @param bytesMax more than this is an error */
export async function decompress(
  bytes: Uint8Array,
  bytesMax: number,
): Promise<Uint8Array<ArrayBuffer>> {
  return promisify(zlib().zstdDecompress)(bytes, { maxOutputLength: bytesMax })
}

/** As {@link decompress}, while nothing else goes on in this thread. */
export function decompressNow(bytes: Uint8Array, bytesMax: number): Uint8Array<ArrayBuffer> {
  return zlib().zstdDecompressSync(bytes, { maxOutputLength: bytesMax })
}
