/**
 * Where the function table of PGlite's module has the functions that the module exports, read from
 * the module when the assets are built.
 *
 * Emscripten's loader asks every entry of the table for its function, in every instance, to know
 * that. It makes a JavaScript function of each of six thousand, for the thousand that are asked
 * for: 4 ms of making a slot, and a megabyte of its memory.
 *
 * Source: WebAssembly Core Specification 2.0, "Binary Format", section 5.5.12 (element section).
 */
import { assert } from '../base/assert.ts'
import { END, exportedFunctions, findSection, I32_CONST } from './wasm-module.ts'

const SECTION_ELEMENT = 9
/** Functions for table 0, placed when the module is instantiated. */
const PLACED_FUNCTIONS = 0

/**
 * By exported function, in the order of the exports: its place in the table before anything is
 * added, or 0 if it has none.
 */
export type ExportPlaces = readonly number[]

export function exportPlacesOf(module: Uint8Array): ExportPlaces {
  const places = new Map<number, number>()
  const cursor = findSection(module, SECTION_ELEMENT)
  for (let segments = cursor.unsigned(); segments > 0; segments--) {
    assert(cursor.unsigned() === PLACED_FUNCTIONS, 'elements are functions of table 0')
    assert(cursor.byte() === I32_CONST, 'they begin at a constant')
    const start = cursor.unsigned()
    assert(cursor.byte() === END, 'and at nothing else')
    const end = start + cursor.unsigned()
    for (let place = start; place < end; place++) {
      const index = cursor.unsigned()
      // Of a function that is there twice the highest place counts, as for the loader.
      places.set(index, Math.max(place, places.get(index) ?? 0))
    }
  }
  return exportedFunctions(module).map((index) => places.get(index) ?? 0)
}

/** Tells the loader's map of functions what of `exports` is in the table. */
export type FillFunctionMap = (map: WeakMap<object, number>, exports: WebAssembly.Exports) => void

export function functionMapFiller(places: ExportPlaces): FillFunctionMap {
  return (map, exports) => {
    let at = 0
    for (const value of Object.values(exports)) {
      if (typeof value !== 'function') continue
      const place = places[at++]
      if (place) map.set(value, place)
    }
    assert(at === places.length, 'the places are those of this module')
  }
}
