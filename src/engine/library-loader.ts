/**
 * dlopen(3) and dlsym(3) of one instance, between Postgres and whoever loads: Emscripten's own
 * loader for the libraries that every database uses, which are loaded before Postgres runs, and
 * `slot-libraries.ts` for those of extensions.
 *
 * Only our own files are loaded. Code that a tenant brought along (LOAD of a file that it wrote
 * into PGDATA) must never run: Emscripten's loader evaluates JavaScript that a module carries,
 * outside of the sandbox.
 */
import { assert } from '../base/assert.ts'
import { utf8 } from '../base/bytes.ts'
import type { EmscriptenModule, WasmImport } from './emscripten.ts'
import type { LibraryCode } from './library-code.ts'
import { type LibraryHost, SlotLibraries } from './slot-libraries.ts'

export const LIBRARY_FOLDER = '/pglite/lib/postgresql'
/** Side modules that every database uses, in the order in which they are loaded. */
export const BASE_LIBRARIES: readonly string[] = ['plpgsql.so', 'dict_snowball.so']
/** glibc's values, which musl shares: RTLD_NOW | RTLD_GLOBAL. */
const RTLD_NOW_GLOBAL = 2 | 256
/** Layout of musl's `struct dso` as Emscripten's loader reads it. */
const DSO_FLAGS_AT = 4
const DSO_NAME_AT = 36

/** Names of the functions that side modules export, by the module's file name. */
export type LibraryExports = Readonly<Record<string, readonly string[]>>

/** Replaces an import of the module by what is made of it. */
export type ReplaceImport = (name: string, make: (original: WasmImport) => WasmImport) => void

export class LibraryLoader {
  readonly #module: () => EmscriptenModule
  /** Emscripten's own. */
  #dlopen: WasmImport | undefined
  #dlsym: WasmImport | undefined
  #extensions: SlotLibraries | undefined
  #baseExports: LibraryExports = {}
  /** Paths by what dlopen(3) has returned for them since this run of Postgres began. */
  readonly #handles = new Map<number, string>()

  constructor(module: () => EmscriptenModule) {
    this.#module = module
  }

  /** To be called before the module is instantiated. */
  takeOver(replace: ReplaceImport): void {
    replace('_dlopen_js', (original) => {
      this.#dlopen = original
      return (handle = 0) => this.#open(handle)
    })
    replace('_dlsym_js', (original) => {
      this.#dlsym = original
      return (handle = 0, nameAt = 0, indexAt = 0) => this.#find(handle, nameAt, indexAt)
    })
  }

  /**
   * Loads the base libraries before Postgres runs, so that they lie at the same addresses in every
   * instance, and reserves room for the others. An exported name that clashes with an earlier
   * module (`_PG_init`, `Pg_magic_func`, ...) would get its table entry only at the first dlsym;
   * looking it up now fixes that entry too.
   */
  begin(code: LibraryCode, baseExports: LibraryExports, host: Omit<LibraryHost, 'module'>): void {
    const module = this.#module()
    this.#baseExports = baseExports
    const scratch = module._malloc(1024)
    const seen = new Set(Object.keys(host.exports))
    for (const name of BASE_LIBRARIES) {
      const handle = this.#openBase(`${LIBRARY_FOLDER}/${name}`)
      for (const symbol of baseExports[name] ?? []) {
        if (seen.has(symbol)) this.#lookUp(handle, symbol, scratch)
        seen.add(symbol)
      }
    }
    this.#extensions = new SlotLibraries(code, { ...host, module })
  }

  /** Of libraries that Postgres has opened in this run. */
  get handles(): readonly number[] {
    return [...this.#handles.keys()]
  }

  /** This run of Postgres has ended. */
  forget(): void {
    this.#handles.clear()
  }

  /** Goes on with a run whose memory is in place: its handles are addresses in that. */
  resume(handles: readonly number[]): void {
    for (const handle of handles) {
      const path = this.#pathOf(handle)
      if (isBase(path)) assert(this.#dlopen?.(handle), `${path} is loaded in every instance`)
      else this.#extensions?.resume(path)
      this.#handles.set(handle, path)
    }
  }

  #open(handle: number): number {
    const path = this.#pathOf(handle)
    if (isBase(path)) {
      if (!this.#dlopen?.(handle)) return 0
    } else {
      if (!this.#extensions?.has(path)) return 0
      const isOpen = this.#handles.values().some((opened) => opened === path)
      if (!isOpen) this.#extensions.open(path)
    }
    this.#handles.set(handle, path)
    return 1
  }

  /** @param indexAt where Emscripten's own wants to note a new entry of the table */
  #find(handle: number, nameAt: number, indexAt: number): number {
    const path = this.#handles.get(handle)
    if (path === undefined) return this.#dlsym?.(handle, nameAt, indexAt) ?? 0
    const name = this.#module().UTF8ToString(nameAt)
    if (!isBase(path)) return this.#extensions?.entryOf(path, name) ?? 0
    // What else they export has no entry in the table yet, and must not get one.
    const file = path.slice(LIBRARY_FOLDER.length + 1)
    if (!this.#baseExports[file]?.includes(name)) return 0
    return this.#dlsym?.(handle, nameAt, indexAt) ?? 0
  }

  /** The shortest path of the same file. There are no links in the folder of libraries. */
  #pathOf(handle: number): string {
    const names: string[] = []
    for (const name of this.#module()
      .UTF8ToString(handle + DSO_NAME_AT)
      .split('/')) {
      if (name === '..') names.pop()
      else if (name !== '' && name !== '.') names.push(name)
    }
    return `/${names.join('/')}`
  }

  #openBase(path: string): number {
    const module = this.#module()
    const handle = module._malloc(DSO_NAME_AT + path.length + 28)
    module.HEAPU8.fill(0, handle, handle + DSO_NAME_AT + path.length + 28)
    new DataView(module.HEAPU8.buffer).setInt32(handle + DSO_FLAGS_AT, RTLD_NOW_GLOBAL, true)
    module.HEAPU8.set(utf8(path), handle + DSO_NAME_AT)
    assert(this.#open(handle), `side module ${path} loads`)
    return handle
  }

  #lookUp(handle: number, symbol: string, scratch: number): void {
    this.#module().HEAPU8.set(utf8(`${symbol}\0`), scratch + 16)
    this.#dlsym?.(handle, scratch + 16, scratch)
  }
}

/** Whether every instance has the library of this path. */
export function isBase(path: string): boolean {
  return BASE_LIBRARIES.some((name) => path === `${LIBRARY_FOLDER}/${name}`)
}
