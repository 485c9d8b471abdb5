/**
 * Where the libraries of extensions lie. Each has a place of its own for its variables and for its
 * entries of the function table, in every slot the same, whether it is loaded there or not: so an
 * image of a tenant that uses some fits a slot that has loaded others, or none
 * (`docs/decisions/0036`).
 *
 * Source: "WebAssembly Dynamic Linking" of the tool conventions, for what a library asks for.
 */
import { assert } from '../base/assert.ts'
import { linkingNeeds } from './wasm-module.ts'

/** One library's place, in rooms that begin where an instance says. */
export interface LibraryPlace {
  /** Of its variables, in bytes from the start of the room for variables. */
  readonly memoryAt: number
  readonly memoryBytes: number
  /** Of its entries in the function table, from the start of the room for entries. */
  readonly tableAt: number
  /** How many of its entries it fills itself when it is instantiated. */
  readonly ownEntries: number
  /** All of them: those, and one for each of {@link pointedTo}. */
  readonly entries: number
}

export interface LibraryLayout {
  /** By path. */
  readonly places: Readonly<Record<string, LibraryPlace>>
  readonly memoryBytes: number
  readonly entries: number
}

/** Of the room for variables, and so the most that a library may ask for. */
export const ALIGNMENT_BYTES = 16
/**
 * What Postgres looks up in a library besides functions that statements name. Those that it would
 * look up for a parallel worker are not among them: there are none.
 */
const LOOKED_UP = /^(?:_PG_\w+|Pg_magic_func|pg_finfo_\w+)$/

/** @param libraries by path, compiled and as files, in the order in which they are to lie */
export function layOutLibraries(
  libraries: ReadonlyMap<
    string,
    { readonly bytes: Uint8Array; readonly module: WebAssembly.Module }
  >,
): LibraryLayout {
  const places: Record<string, LibraryPlace> = {}
  let memoryAt = 0
  let tableAt = 0
  for (const [path, { bytes, module }] of libraries) {
    const { memoryBytes, alignmentBytes, ownEntries } = linkingNeeds(bytes)
    assert(alignmentBytes <= ALIGNMENT_BYTES, `${path} can be aligned`)
    const entries = ownEntries + pointedTo(module).length
    places[path] = { memoryAt, memoryBytes, tableAt, ownEntries, entries }
    memoryAt += Math.ceil(memoryBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    tableAt += entries
  }
  return { places, memoryBytes: memoryAt, entries: tableAt }
}

/**
 * The functions of a library that anybody can have a pointer to from outside of it, in the order of
 * their entries: those that it asks its loader to be told the address of, and those that Postgres
 * may look up by name. A function of SQL is one that says of itself how it is called (`pg_finfo_`).
 */
export function pointedTo(library: WebAssembly.Module): readonly string[] {
  const exported = WebAssembly.Module.exports(library).filter(({ kind }) => kind === 'function')
  const names = new Set<string>(exported.map(({ name }) => name))
  const asked = new Set(
    WebAssembly.Module.imports(library)
      .filter((entry) => entry.module === 'GOT.func')
      .map(({ name }) => name),
  )
  return [...names].filter(
    (name) => asked.has(name) || LOOKED_UP.test(name) || names.has(`pg_finfo_${name}`),
  )
}
