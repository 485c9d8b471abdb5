/** How the C library's allocator is set up for this program. It belongs to the process. */
import { linkedFunctions } from './ffi.ts'

/** M_MMAP_THRESHOLD and M_MMAP_MAX of mallopt(3). */
const MAP_FROM = -3
const MAPPINGS = -4
/** Images of small tenants are larger, what is read from a socket at once is smaller. */
const APART_BYTES = 131_072
/** V8 ends a process that has as many mappings as Linux allows, 65,530 if nobody has changed it. */
const APART_MAX = 16_384

/**
 * Gives each large block a mapping of its own, which goes back to the system when it is freed. By
 * default glibc does so only until the first of them is freed: thousands of images of all sizes,
 * made by some threads and freed by others, then leave a fifth of their memory in holes.
 *
 * Nothing happens where the library has no such setting, or Node cannot call it.
 */
export function keepLargeBlocksApart(): void {
  try {
    const { mallopt } = linkedFunctions({
      mallopt: { arguments: ['int32', 'int32'], return: 'int32' },
    })
    mallopt(MAP_FROM, APART_BYTES)
    mallopt(MAPPINGS, APART_MAX)
  } catch {
    // musl, macOS, Node without ffi, or Node's permissions forbid it.
  }
}
