/**
 * Where the function table of PGlite's module has each function at first, read from the module.
 *
 * Emscripten's loader asks every entry of the table for its function, in every instance, to know
 * where those are that the module exports. That makes a JavaScript function of each of six
 * thousand, for a thousand that are asked for: 4 ms of making a slot, and a megabyte of its memory.
 *
 * Source: WebAssembly Core Specification 2.0, "Binary Format", section 5.5.12 (element section).
 */
import { assert } from '../base/assert.ts'
import { END, findSection, I32_CONST } from './wasm-module.ts'

const SECTION_ELEMENT = 9
/** Functions for table 0, placed when the module is instantiated. */
const PLACED_FUNCTIONS = 0

/** By the index of a function in the module: its place in the table, or 0 if it has none. */
export type TablePlaces = Uint32Array

export function tablePlacesOf(module: Uint8Array): TablePlaces {
  const cursor = findSection(module, SECTION_ELEMENT)
  const found: (readonly [index: number, place: number])[] = []
  let indexMax = 0
  for (let segments = cursor.unsigned(); segments > 0; segments--) {
    assert(cursor.unsigned() === PLACED_FUNCTIONS, 'elements are functions of table 0')
    assert(cursor.byte() === I32_CONST, 'they begin at a constant')
    const start = cursor.unsigned()
    assert(cursor.byte() === END, 'and at nothing else')
    const count = cursor.unsigned()
    for (let offset = 0; offset < count; offset++) {
      const index = cursor.unsigned()
      found.push([index, start + offset])
      indexMax = Math.max(indexMax, index)
    }
  }
  const places = new Uint32Array(indexMax + 1)
  // Of a function that is there twice the last place counts, as for the loader.
  for (const [index, place] of found) places[index] = place
  return places
}

/** Tells the loader's map of functions what of `exports` is in the table. */
export type FillFunctionMap = (map: WeakMap<object, number>, exports: WebAssembly.Exports) => void

export function functionMapFiller(places: TablePlaces): FillFunctionMap {
  return (map, exports) => {
    for (const value of Object.values(exports)) {
      if (typeof value !== 'function') continue
      // An exported function is named by its index: WebAssembly JavaScript Interface, section 5.6.
      const place = places[Number(value.name)]
      if (place) map.set(value, place)
    }
  }
}
