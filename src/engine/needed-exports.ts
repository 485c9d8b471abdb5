/**
 * Which of its exports PGlite's module needs in an engine. For each name that a module exports,
 * Emscripten's loader makes a JavaScript function, an entry of the function table and an entry of
 * its table of symbols, in every instance; of more than two thousand, about half are ever used.
 *
 * All instances that memory images go between must have the same exports: the table decides what a
 * pointer to a function is.
 */
import { ENGINE_SYMBOLS } from './engine-symbols.ts'
import { exportNames } from './wasm-module.ts'

/** Where a module that is linked at run time looks for symbols. */
const SYMBOL_NAMESPACES: ReadonlySet<string> = new Set(['env', 'GOT.func', 'GOT.mem'])
/** How the glue takes over each export. That alone is no use of it. */
const TAKEN_OVER = /\w+=(?:Module\["\w+"\]=)?wasmExports\["\w+"\](?!\.)/g

export interface LinkedModules {
  /** PGlite's module, and compiled. */
  readonly wasm: Uint8Array
  readonly main: WebAssembly.Module
  /** Emscripten's loader, as text. */
  readonly glue: string
  /** All side modules that may be loaded. */
  readonly libraries: readonly WebAssembly.Module[]
}

/** Names of exports that somebody may ask for. */
export function neededExports({ wasm, main, glue, libraries }: LinkedModules): ReadonlySet<string> {
  const wanted = new Set(ENGINE_SYMBOLS)
  for (const module of [main, ...libraries]) {
    for (const { module: namespace, name } of WebAssembly.Module.imports(module)) {
      if (SYMBOL_NAMESPACES.has(namespace)) wanted.add(name)
    }
  }
  // Of variables it reads the address at once.
  for (const [, name = ''] of glue.matchAll(/wasmExports\["(\w+)"\]\.value/g)) wanted.add(name)
  const mentions = countWords(glue.replaceAll(TAKEN_OVER, ''))
  const isNeeded = (name: string): boolean =>
    // The tools' own, which loaders look for by rules of theirs.
    name.startsWith('_') ||
    wanted.has(name) ||
    // More than declared.
    (mentions.get(`_${name}`) ?? 0) > 1 ||
    mentions.has(name)
  return new Set(exportNames(wasm).filter(isNeeded))
}

function countWords(text: string): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const [word] of text.matchAll(/[\w$]+/g)) counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}
