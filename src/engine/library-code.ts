/**
 * The libraries of extensions as one thread has them: compiled when a tenant first uses one, for
 * all slots of the thread.
 */
import { assert } from '../base/assert.ts'
import type { SparseBytes } from '../base/sparse-bytes.ts'
import type { FilePack } from './file-pack.ts'
import { type LibraryLayout, type LibraryPlace, pointedTo } from './library-layout.ts'

/** Makes code of a library's file. */
export type CompileLibrary = (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module

export interface Library {
  readonly path: string
  readonly place: LibraryPlace
  readonly module: WebAssembly.Module
  readonly imports: readonly { readonly module: string; readonly name: string }[]
  /** The functions that have entries behind its own, with the place among those. */
  readonly pointedTo: ReadonlyMap<string, number>
  /** What its variables begin as, pointers included. Set by whoever instantiates it first. */
  initial?: Uint8Array
}

export interface LibraryCodeParts {
  /** Files of the slots; libraries are among them. */
  readonly overlay: FilePack
  readonly fill: SparseBytes['fill']
  readonly layout: LibraryLayout
  readonly compile: CompileLibrary
}

export class LibraryCode {
  readonly layout: LibraryLayout
  readonly #parts: LibraryCodeParts
  readonly #compiled = new Map<string, Library>()

  constructor(parts: LibraryCodeParts) {
    this.layout = parts.layout
    this.#parts = parts
  }

  /** Whether there is a library of this path that may be loaded. */
  has(path: string): boolean {
    return this.layout.places[path] !== undefined && this.#parts.overlay.has(path)
  }

  /** Compiled now if nobody has asked for it. Undefined: there is none of this path. */
  get(path: string): Library | undefined {
    const known = this.#compiled.get(path)
    if (known) return known
    const place = this.layout.places[path]
    const bytes = this.#parts.overlay.get(path)
    if (!place || !bytes) return undefined
    this.#parts.fill(bytes)
    // A copy: the files may lie in memory that threads share, of which nothing can be compiled.
    const module = this.#parts.compile(new Uint8Array(bytes))
    const entries = pointedTo(module).map((name, index) => [name, index] as const)
    assert(place.entries === place.ownEntries + entries.length, `the layout is that of ${path}`)
    const imports = WebAssembly.Module.imports(module)
    const library = { path, place, module, imports, pointedTo: new Map(entries) }
    this.#compiled.set(path, library)
    return library
  }
}
