/**
 * Side modules where no code can be compiled at run time (Workers): each of them is compiled ahead,
 * as a part of the program, and its file in a slot is a *ticket*: what Emscripten's loader reads of
 * a library before it compiles it, and the name by which the compiled one is found.
 *
 * A ticket is a valid module with nothing in it, so whoever compiled it by mistake would get a
 * library without functions, and the loader would say so.
 */
import { assert } from '../base/assert.ts'
import { fromUtf8, utf8 } from '../base/bytes.ts'
import { customSection, dynamicLinkingPart, withCustomSection } from './wasm-module.ts'

const SECTION = 'pgnap.library'

/** Stands for `library` in the files of a slot. */
export function libraryTicket(library: Uint8Array, name: string): Uint8Array<ArrayBuffer> {
  assert(name !== '', 'a library has a name')
  return withCustomSection(dynamicLinkingPart(library), SECTION, utf8(name))
}

/** The name on a ticket; undefined if `module` is none. */
export function nameOnTicket(module: Uint8Array): string | undefined {
  const name = customSection(module, SECTION)
  return name && fromUtf8(name)
}
