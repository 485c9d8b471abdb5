/**
 * Postgres's hash tables, read from outside.
 *
 * Source: Postgres 18, hsearch.h (HASH_SEQ_STATUS), dynahash.c; pointers of 32 bits.
 */
import type { Instance } from './instance.ts'

/** struct HASH_SEQ_STATUS, and some. */
const SCAN_BYTES = 32
/** struct HASHHDR: entries of the first free list, the only one of a table in private memory. */
const COUNT_AT = 4

/** Entries of a table in private memory. @param word reads 32 bits of memory */
export function countOf(word: (at: number) => number, table: number): number {
  return word(word(table) + COUNT_AT)
}

/** Addresses of a table's entries, which begin with their keys. Throws what wasm throws. */
export function entriesOf(instance: Pick<Instance, 'functionOf'>, table: number): number[] {
  // Of the context of the last message, which the next one empties.
  const scan = Number(instance.functionOf('palloc')(SCAN_BYTES))
  instance.functionOf('hash_seq_init')(scan, table)
  const entries: number[] = []
  for (;;) {
    const entry = Number(instance.functionOf('hash_seq_search')(scan))
    if (entry === 0) return entries
    entries.push(entry)
  }
}
