/**
 * The libraries of extensions in one instance, in the place of Emscripten's loader. That one gives
 * a library the next free addresses, whatever they are; here each lies where it lies in every
 * instance (`library-layout.ts`). So what a tenant's memory says of a library, pointers to its
 * functions and variables, is true in any slot in which the library's code is.
 *
 * A library's variables belong to the tenant that has opened it, like all memory, and leave with
 * it. Its code stays: entries of the table that nobody points to, and functions.
 *
 * Names are looked up in the library first and in the engine's module then, never in another
 * extension's library: what one resolves to must not depend on what else a slot has loaded. (What
 * the base libraries export counts as the engine's: every slot has it.) It is also safer than what
 * it replaces, which runs JavaScript that it finds in a library.
 */
import { assert } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'
import { conversionFunctions } from './conversion-functions.ts'
import type { EmscriptenModule, WasmFunction, WasmImport } from './emscripten.ts'
import type { Library, LibraryCode } from './library-code.ts'
import { ALIGNMENT_BYTES } from './library-layout.ts'

/** What libraries are linked to. */
export interface LibraryHost {
  readonly module: EmscriptenModule
  readonly memory: WebAssembly.Memory
  readonly table: WebAssembly.Table
  /** What the engine's module exports. */
  readonly exports: WebAssembly.Exports
  /** What Emscripten's loader lets a library import. */
  readonly symbols: Readonly<Record<string, WasmImport>>
}

export class SlotLibraries {
  readonly #code: LibraryCode
  readonly #host: LibraryHost
  /** Where the rooms begin. */
  readonly #memoryAt: number
  readonly #tableAt: number
  /** What the libraries that are loaded here export. */
  readonly #loaded = new Map<Library, WebAssembly.Exports>()
  readonly #lent: Readonly<Record<string, WasmFunction>>
  #longJump: Constructor | undefined

  /** Reserves the rooms: at the same moment in the life of every instance. */
  constructor(code: LibraryCode, host: LibraryHost) {
    this.#code = code
    this.#host = host
    this.#lent = conversionFunctions(host)
    const roomAt = host.module._malloc(code.layout.memoryBytes + ALIGNMENT_BYTES)
    assert(roomAt !== 0, 'there is memory for the variables of libraries')
    // The module's malloc aligns to half of that.
    this.#memoryAt = Math.ceil(roomAt / ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    // Whatever is added to the table later lies behind all of them.
    this.#tableAt = host.table.grow(code.layout.entries)
  }

  has(path: string): boolean {
    return this.#code.has(path)
  }

  /** Loads a library for a tenant that has not used it: its variables are as they begin. */
  open(path: string): void {
    const library = this.#library(path)
    const exports = this.#codeOf(library)
    assert(library.initial, 'whoever was first has seen what its variables begin as')
    this.#variablesOf(library).set(library.initial)
    call(exports, '__wasm_call_ctors')
  }

  /** Makes sure of the code of a library whose variables are in memory already. */
  resume(path: string): void {
    this.#codeOf(this.#library(path))
  }

  /** A function's entry in the table; undefined if the library has none of that name. */
  entryOf(path: string, name: string): number | undefined {
    const library = this.#library(path)
    const index = library.pointedTo.get(name)
    if (index === undefined) return undefined
    return this.#entriesAt(library) + library.place.ownEntries + index
  }

  #library(path: string): Library {
    const library = this.#code.get(path)
    assert(library, `${path} is a library of this engine`)
    return library
  }

  #entriesAt({ place }: Library): number {
    return this.#tableAt + place.tableAt
  }

  #variablesAt({ place }: Library): number {
    return this.#memoryAt + place.memoryAt
  }

  #variablesOf(library: Library): Uint8Array {
    const at = this.#variablesAt(library)
    return this.#host.module.HEAPU8.subarray(at, at + library.place.memoryBytes)
  }

  /** What the library exports, instantiated now if it is not loaded here. Memory stays as it is. */
  #codeOf(library: Library): WebAssembly.Exports {
    const known = this.#loaded.get(library)
    if (known) return known
    const variables = this.#variablesOf(library)
    // Instantiating lays variables down over whatever they have become in a tenant's memory.
    const kept = variables.slice()
    variables.fill(0)
    const exports = this.#instantiate(library)
    library.initial ??= variables.slice()
    variables.set(kept)
    this.#loaded.set(library, exports)
    return exports
  }

  #instantiate(library: Library): WebAssembly.Exports {
    const { table } = this.#host
    const addresses: [name: string, kind: string, address: WebAssembly.Global][] = []
    const imports: Record<string, Record<string, WebAssembly.ImportValue>> = {}
    for (const { module: namespace, name } of library.imports) {
      const isAddress = namespace === 'GOT.func' || namespace === 'GOT.mem'
      const address = isAddress && new WebAssembly.Global({ value: 'i32', mutable: true }, 0)
      if (address) addresses.push([name, namespace, address])
      ;(imports[namespace] ??= {})[name] = address || this.#imported(library, name)
    }
    const { exports } = new WebAssembly.Instance(library.module, imports)
    const firstEntry = this.#entriesAt(library) + library.place.ownEntries
    for (const [name, index] of library.pointedTo) {
      table.set(firstEntry + index, exports[name])
    }
    for (const [name, kind, address] of addresses) {
      address.value =
        kind === 'GOT.func'
          ? (this.entryOf(library.path, name) ?? this.#engineEntry(name))
          : (this.#ownVariable(library, exports[name]) ?? this.#engineVariable(name))
    }
    call(exports, '__wasm_apply_data_relocs')
    return exports
  }

  /** Something of the namespace `env`. */
  #imported(library: Library, name: string): WebAssembly.ImportValue {
    const { memory, table, module } = this.#host
    switch (name) {
      case 'memory':
        return memory
      case '__indirect_function_table':
        return table
      case '__stack_pointer':
        return module.___stack_pointer
      case '__memory_base':
        return this.#variablesAt(library)
      case '__table_base':
        return this.#entriesAt(library)
      default:
        return this.#function(name)
    }
  }

  #function(name: string): WasmFunction {
    const known = this.#host.symbols[name]
    // A stub only says that the engine's module imports a function that nobody has.
    if (known && !known.stub) return known
    if (name.startsWith('invoke_')) return this.#invoke(name)
    const lent = this.#lent[name]
    if (lent) return lent
    return () => {
      throw new PgnapError('SLOT_LOST', `a library has called ${name}(), which is not here`, {
        hint: 'connect again; this function of the extension does not work here',
      })
    }
  }

  /**
   * What calls a function through its pointer and comes back if that ends in a longjmp(3), which
   * here is an exception of Emscripten's. It makes these functions itself for the signatures that
   * the engine's module uses.
   */
  #invoke(name: string): WasmFunction {
    const { table, symbols } = this.#host
    const { emscripten_stack_get_current: stackOf, _emscripten_stack_restore: restore } = symbols
    const { setThrew } = symbols
    assert(stackOf && restore && setThrew, 'the module exports what catching a longjmp takes')
    const isLong = name.startsWith('invoke_j')
    const LongJump = (this.#longJump ??= longJumpOf(symbols))
    const invoke = (pointer: number, ...values: unknown[]): unknown => {
      const stack = stackOf()
      try {
        return (table.get(pointer) as (...values: unknown[]) => unknown)(...values)
      } catch (error) {
        restore(stack)
        if (!(error instanceof LongJump)) throw error
        setThrew(1, 0)
        return isLong ? 0n : 0
      }
    }
    return invoke as WasmFunction
  }

  /** Where a function of the engine's module is in the table: all that it exports are. */
  #engineEntry(name: string): number {
    const { module, table, exports, symbols } = this.#host
    const found = exports[name] ?? symbols[name]
    assert(typeof found === 'function', `the engine has a function ${name}`)
    const { length } = table
    const entry = module.addFunction(found as WasmFunction, '')
    assert(table.length === length, `${name} has an entry of its own`)
    return entry
  }

  #ownVariable(library: Library, exported: unknown): number | undefined {
    if (!(exported instanceof WebAssembly.Global)) return undefined
    return this.#variablesAt(library) + Number(exported.value)
  }

  #engineVariable(name: string): number {
    const exported = this.#host.exports[name]
    assert(exported instanceof WebAssembly.Global, `the engine has a variable ${name}`)
    return Number(exported.value)
  }
}

type Constructor = new () => object

/** The class of what Emscripten throws for a longjmp(3). */
export function longJumpOf(symbols: LibraryHost['symbols']): Constructor {
  try {
    symbols['_emscripten_throw_longjmp']?.()
  } catch (error) {
    if (error instanceof Object) return error.constructor as Constructor
  }
  assert(false, 'the module can throw a longjmp')
}

function call(exports: WebAssembly.Exports, name: string): void {
  const found = exports[name]
  if (typeof found === 'function') (found as () => void)()
}
