/**
 * Has Postgres tell its client when a setting changes that drivers follow (ParameterStatus: the
 * client encoding, DateStyle, TimeZone, standard_conforming_strings, search_path, ...). A backend
 * in single-user mode has no client of the wire and leaves that off; libpq and what stands on it
 * then quote texts and read dates by settings that are not in force any more.
 *
 * The switch is a byte that no module exports. It lies beside the list of settings, and is found
 * when the engine is built by what it does: with it, a SET is reported.
 *
 * Postgres reports what was set since it last said that it is ready. A change of hands says the
 * settings of the next client again, to nobody, so whatever comes after that is news to that
 * client. PGlite does not keep what it has reported last, so a setting that is set to what it was,
 * if only inside of a statement, is reported as well; the front holds that back
 * (`told-settings.ts`).
 *
 * Source: Postgres 18, guc.c, `reporting_enabled`, `ReportChangedGUCOptions`.
 */
import { assert } from '../base/assert.ts'

/** How far from the head of the list of settings it is looked for; what lies before comes first. */
const PLACES: readonly number[] = [-4, -8, -12, -16]
const PROBE = 'pgnap_reports'
const REPORT = `application_name\0${PROBE}`

/**
 * Looks for the switch in a backend that nobody will use afterwards.
 * @param settingsAt head of the list of settings
 * @param run runs a statement; its answer as text
 */
export function findReporting(
  heap: Uint8Array,
  settingsAt: number,
  run: (statement: string) => string,
): number {
  for (const place of PLACES) {
    const at = settingsAt + place
    // A pointer or a number is left alone.
    if (heap.subarray(at, at + 4).some((byte) => byte !== 0)) continue
    reportSettings(heap, at)
    if (run(`set application_name = '${PROBE}'`).includes(REPORT)) return at
    heap[at] = 0
  }
  assert(false, 'the switch that has settings reported is beside the list of settings')
}

/** Switches it on. Postgres switches it off as it starts. */
export function reportSettings(heap: Uint8Array, at: number): void {
  heap[at] = 1
}
