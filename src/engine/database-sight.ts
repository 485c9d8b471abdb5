/**
 * What a session sees of the databases beside its own, during one run: their names are asked for
 * once at most, and only if somebody looks.
 */
import { utf8 } from '../base/bytes.ts'

/** The databases beside that of the tenant in a slot. Both are called in the middle of a run. */
export interface OtherDatabases {
  /** In no order, each once. Throws what the host throws. */
  names(): readonly string[]
  /** How many bytes one of them is kept in; undefined if there is none of that name. */
  bytesOf(name: string): number | undefined
}

/** Ids below are given out by a cluster; it would take it two billion objects to come so far. */
const MADE_UP_IDS = 0x8000_0000
/** FNV-1a. */
const HASH_START = 0x811c_9dc5
const HASH_FACTOR = 0x0100_0193

/** The object id that another database goes by: always the same for a name. */
export function madeUpId(name: string): number {
  let hash = HASH_START
  for (const byte of utf8(name)) hash = Math.imul(hash ^ byte, HASH_FACTOR)
  return (hash | MADE_UP_IDS) >>> 0
}

export class DatabaseSight {
  readonly #others: OtherDatabases
  #names: readonly string[] | undefined
  #byId: ReadonlyMap<number, string> | undefined

  constructor(others: OtherDatabases) {
    this.#others = others
  }

  get names(): readonly string[] {
    return (this.#names ??= this.#others.names())
  }

  /** By a {@link madeUpId}. */
  nameOf(id: number): string | undefined {
    if (id < MADE_UP_IDS) return undefined
    this.#byId ??= new Map(this.names.map((name) => [madeUpId(name), name]))
    return this.#byId.get(id)
  }

  bytesOf(name: string): number | undefined {
    return this.#others.bytesOf(name)
  }
}
