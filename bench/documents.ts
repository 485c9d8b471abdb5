/**
 * What a run becomes in documents: a short table for the first screen of README.md, and all that
 * was printed for bench/RESULTS.md. Both are of one run, and written by `npm run bench -- --write`,
 * so that no number is copied by hand, and none is left out because it is a bad one.
 */
import type { MetricReport } from './harness.ts'
import { metricCells } from './report.ts'

/** What it is written between. */
export const BEGIN = '<!-- bench -->'
export const END = '<!-- /bench -->'

/** Metrics of the first screen: one for each thing that the first paragraphs promise. */
export const FIRST_SCREEN: readonly string[] = [
  'create',
  'wake-napping',
  'wake-empty',
  'wake-million',
  'point-8',
  'point-1',
  'insert',
  'start',
  'disk',
  'memory',
]

const HEADS = [
  'median (p99; of a rate, the slowest round)',
  'pgnap',
  'compared with',
  'times',
  'goal',
]
const ALIGNMENT = ['---', '---:', '---:', '---:', '---']

/** The table of the first screen, with the machine. */
export function firstScreen(reports: readonly MetricReport[], machine: string): string {
  const rows = FIRST_SCREEN.flatMap((name) => {
    const report = reports.find(({ metric }) => metric.name === name)
    return report ? [metricCells(report)] : []
  })
  const lines = [HEADS, ALIGNMENT, ...rows]
  return [
    ...lines.map((cells) => `| ${cells.join(' | ')} |`),
    '',
    `One run, by turns, on ${machine}.`,
  ].join('\n')
}

/** All that a run has printed. */
export function wholeRun(lines: readonly string[]): string {
  return ['```text', ...lines, '```'].join('\n')
}

/**
 * The page with another block between its markers.
 * Throws if the page has not exactly one place for it.
 */
export function insertBlock(
  page: string,
  block: string,
  begin: string = BEGIN,
  end: string = END,
): string {
  const [head, rest, ...more] = page.split(begin)
  const [, tail, ...others] = (rest ?? '').split(end)
  if (head === undefined || tail === undefined || more.length + others.length > 0) {
    throw new Error(`the page has no place between ${begin} and ${end}`)
  }
  return `${head}${begin}\n\n${block}\n\n${end}${tail}`
}
