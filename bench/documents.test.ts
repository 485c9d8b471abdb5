import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { BEGIN, END, FIRST_SCREEN, firstScreen, insertBlock, wholeRun } from './documents.ts'
import { type Metric, type MetricReport, metricReports } from './harness.ts'
import { ROWS } from './rows.ts'

const METRICS = ROWS.flatMap((row) => row.metrics)
const titleOf = (name: string): string =>
  METRICS.find((metric) => metric.name === name)?.title ?? assert.fail(`no metric ${name}`)

const reportsOf = (metrics: readonly Metric[]): readonly MetricReport[] =>
  metricReports(
    'row',
    metrics.map((metric) => ({
      metric,
      results: ['pgnap', metric.reference].map((label, index) => ({
        label,
        peer: 'pgnap' as const,
        summary: { sampleCount: 1, median: 10 + 10 * index, p99: 50, min: 5, max: 50 },
        work: undefined,
      })),
    })),
  )

/** What stands between the markers of a page. */
function blockOf(file: string): string {
  const page = readFileSync(file, 'utf8')
  return page.slice(page.indexOf(BEGIN) + BEGIN.length, page.indexOf(END)).trim()
}

suite('what a run becomes in documents', () => {
  test('the first screen has ten rows, with units, reference, goals and machine', () => {
    const lines = firstScreen(reportsOf(METRICS), '2 x processor').split('\n')
    assert.equal(lines.length, 2 + 10 + 2)
    const [create = ''] = lines.slice(2)
    assert.equal(
      create,
      '| new tenant, connect, first row | 10.0 ms (50.0) | native database 20.0 ms (50.0) ' +
        '| 2.00x | <= 25.0 met, <= 4.00 MISSED, p99 <= 10.0 MISSED |',
    )
    assert.ok(lines.some((line) => line.includes('| 10.0/s (5.00) | PgBouncer 20.0/s (5.00) |')))
    assert.equal(lines.at(-1), 'One run, by turns, on 2 x processor.')
  })

  test('what was not measured is left out, and a reference that was not, shown as such', () => {
    const [create] = METRICS
    assert.ok(create)
    const [report] = reportsOf([create])
    assert.ok(report)
    const alone = { ...report, results: report.results.slice(0, 1) }
    assert.match(firstScreen([alone], 'x'), /\| 10\.0 ms \(50\.0\) \| - \| - \| <= 25\.0 met, /)
    assert.equal(firstScreen([], 'x').split('\n').length, 4)
  })

  test('a block replaces the one before it, and nothing else of the page', () => {
    const page = `before\n${BEGIN}\n\nold\n\n${END}\nafter\n`
    const next = insertBlock(page, 'new')
    assert.equal(next, `before\n${BEGIN}\n\nnew\n\n${END}\nafter\n`)
    assert.equal(insertBlock(next, 'new'), next)
    for (const wrong of ['', BEGIN, `${BEGIN}${END}${BEGIN}${END}`]) {
      assert.throws(() => insertBlock(wrong, 'new'), /no place between/)
    }
    assert.equal(wholeRun(['a', 'b']), '```text\na\nb\n```')
  })
})

suite('what is in the documents now', () => {
  test('README.md has the table of the first screen and no more', () => {
    const titles = [...blockOf('README.md').matchAll(/^\| (.+?) \|/gm)].map(([, title]) => title)
    assert.deepEqual(titles.slice(2), FIRST_SCREEN.map(titleOf))
  })

  test('both are of one run', () => {
    const [, machine = ''] = /^One run, by turns, on (.*)\.$/m.exec(blockOf('README.md')) ?? []
    const [, first, ...lines] = blockOf('bench/RESULTS.md').split('\n')
    assert.equal(first, machine)
    for (const name of FIRST_SCREEN) {
      const whole = lines.find((line) => line.startsWith(`${titleOf(name)} `)) ?? ''
      const row = blockOf('README.md').match(`\\| ${titleOf(name)} \\| ([\\d.]+)`)
      assert.ok(row?.[1] && whole.includes(` ${row[1]} (`), name)
    }
  })
})
