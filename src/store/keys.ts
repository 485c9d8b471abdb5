/**
 * The one map of a store goes from integer keys to bytes. A key is 44 bits:
 *
 *   [0, 2^26)        the record of inode `key`
 *   [2^26, 2^44)     chunk `key % 2^18` of inode `floor(key / 2^18) - 256`
 *
 * so all records are one range at the front, and the chunks of a file are one range each. In SQL
 * the row id is `layer << 44 | key`: 63 bits, more than a JavaScript number holds, and therefore
 * computed and taken apart by SQLite itself. Numbers are bound as doubles there; `|` and `<<` make
 * them integers again, `+` would not.
 */
import { assert } from '../base/assert.ts'
import type { InodeNo, LayerId, PageKey, Version } from '../base/ids.ts'

/** Keys below this are inode records. */
export const RECORD_KEYS: number = 2 ** 26
/** Chunks one file may have: 2 GiB of ordinary pages, twice what Postgres puts into one file. */
export const CHUNKS_PER_INODE: number = 2 ** 18
/** Inode numbers stay below this, so that the end of their chunks stays below 2^44. */
export const INODES_MAX: number = 2 ** 26 - 257
/** The template's inodes are below, a tenant's own start here. */
export const FIRST_TENANT_INODE: InodeNo = (2 ** 20) as InodeNo
/** Layer ids stay below this: 19 bits, minus one so that `layer + 1` can be shifted as well. */
export const LAYERS_MAX: number = 2 ** 19 - 1
/** Versions share the 44 bits in the log's row id. */
export const VERSIONS_MAX: number = 2 ** 44 - 1
export const MAIN: LayerId = 0 as LayerId

/** SQL: the row id of layer ?1, key (or version) ?2. */
export const ID = '(?1<<44|?2)'
/** SQL: the key (or version) inside a row id. */
export const KEY_OF_ID = '(id & 17592186044415)'
/** SQL: the row ids of layer ?1. */
export const IN_LAYER = 'id>=(?1<<44) AND id<((?1+1)<<44)'
/** SQL: the row ids of layer ?1 with keys in [?2, ?3). */
export const IN_RANGE = 'id>=(?1<<44|?2) AND id<(?1<<44|?3)'

/** Keys in [from, to). */
export interface KeyRange {
  readonly from: PageKey
  readonly to: PageKey
}

/** Where the record of an inode lives. */
export function recordKey(inode: InodeNo): PageKey {
  assert(inode > 0 && inode < INODES_MAX, 'an inode number is in range')
  return inode as number as PageKey
}

/**
 * Where chunk `chunk` of an inode lives. `chunk` may equal CHUNKS_PER_INODE, as the end of a range.
 */
export function chunkKey(inode: InodeNo, chunk: number): PageKey {
  return ((inode + 256) * CHUNKS_PER_INODE + chunk) as PageKey
}

/** The inode that a chunk key belongs to. */
export function inodeOfChunkKey(key: PageKey): InodeNo {
  assert(key >= RECORD_KEYS, 'the key is a chunk key')
  return (Math.floor(key / CHUNKS_PER_INODE) - 256) as InodeNo
}

/** The chunk number inside a chunk key. */
export function chunkOfChunkKey(key: PageKey): number {
  return key % CHUNKS_PER_INODE
}

export function nextVersion(version: Version): Version {
  assert(version < VERSIONS_MAX, 'versions are left')
  return (version + 1) as Version
}
