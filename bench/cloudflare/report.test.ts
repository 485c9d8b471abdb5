import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { Summary } from '../statistics.ts'
import { choices, times } from './choose.ts'
import { html } from './html.ts'
import { BEGIN, END, insert, markdown } from './markdown.ts'
import { PUBLISHED } from './published.ts'
import type { ArchitectureResult, ComparisonResult } from './results.ts'
import { targets } from './targets.ts'

const of = (median: number): Summary => ({
  sampleCount: 3,
  median,
  p99: median * 2,
  min: median,
  max: median * 2,
})

function architecture(name: string, factor: number): ArchitectureResult {
  return {
    name,
    what: `what ${name} <is> & does`,
    durability: 'durable',
    times: {
      first: of(100 * factor),
      cold: of(8 * factor),
      warm: of(0.1 * factor),
      turns: of(1.5 * factor),
      write: of(0.4 * factor),
    },
    memory: { idle: 170e6, first: 90e6, further: 2e6 * factor },
    bundle: { ownBytes: 6.4e6, computeBytes: name === 'thin' ? 6.4e6 : 0 },
  }
}

const RESULT: ComparisonResult = {
  at: '2026-01-02T03:04:05.000Z',
  smoke: false,
  machine: {
    cpu: 'a processor',
    coreCount: 2,
    memoryBytes: 2 ** 34,
    system: 'Linux 6',
    node: 'v26.10.0',
    commit: 'abc',
    fdatasyncMs: 0.1,
  },
  rounds: 3,
  tenants: 15,
  ping: { http: of(1), rpc: of(0.02) },
  accounted: { tenants: 50, bytes: 81_540_000 },
  bundles: [{ name: 'pgnap', gzipBytes: 6.4e6, bytes: 15e6 }],
  architectures: [
    architecture('traditional', 10),
    architecture('thin', 1.1),
    architecture('pooled', 1),
    architecture('warm-proxy', 0.1),
    architecture('sqlite', 0.2),
  ],
}

const chosenFor = (need: RegExp): readonly string[] | undefined =>
  choices(RESULT.architectures).find((each) => need.test(each.need))?.chosen

test('the lowest number is chosen, with those that are as good', () => {
  assert.deepEqual(chosenFor(/many tenants/), ['pooled', 'thin'])
  assert.equal(chosenFor(/may forget/)?.[0], 'warm-proxy')
  assert.deepEqual(chosenFor(/first request/), ['pooled', 'thin'])
  assert.deepEqual(chosenFor(/smallest Worker/), ['traditional', 'thin', 'pooled', 'sqlite'])
})

test('who cannot serve a need is not chosen for it, however quick', () => {
  const quick = [architecture('warm-proxy', 0.01), architecture('pooled', 5)]
  for (const { need, chosen } of choices(quick)) {
    if (/may forget/.test(need)) assert.deepEqual(chosen, ['warm-proxy'])
    else assert.deepEqual(chosen, ['pooled'])
  }
  assert.deepEqual(choices([]), [])
})

test('aims are compared with what was measured', () => {
  const met = targets(RESULT)
  assert.deepEqual(
    met.map(({ isMet }) => isMet),
    [true, true, true, true, true, true, true, true],
  )
  assert.equal(met.find(({ what }) => /traditional/.test(what))?.measured, '10.0 times')
  assert.deepEqual(
    met.find(({ what }) => /accounted/.test(what)),
    {
      what: 'one isolate with 50 tenants, accounted memory',
      aim: '<= 100 MB',
      measured: '81.5 MB',
      isMet: true,
    },
  )
  const full = targets({ ...RESULT, accounted: { tenants: 50, bytes: 100_000_001 } })
  assert.deepEqual(
    full.filter(({ isMet }) => !isMet).map(({ measured }) => measured),
    ['100.0 MB'],
  )
  const slow = { ...RESULT, architectures: [architecture('pooled', 3)] }
  assert.ok(targets(slow).some(({ what, isMet }) => /cold/.test(what) && !isMet))
  assert.equal(
    times(RESULT.architectures, 'nobody', 'pooled', () => 1),
    undefined,
  )
})

test('the tables name every architecture, and go into the page in their place', () => {
  const tables = markdown(RESULT)
  for (const { name } of RESULT.architectures) assert.ok(tables.includes(`\`/${name}\``), name)
  for (const line of tables.split('\n').filter((each) => each.startsWith('|'))) {
    assert.ok(line.endsWith('|'), line)
  }
  const page = `before\n${BEGIN}\nold\n${END}\nafter`
  assert.equal(insert(page, 'new'), `before\n${BEGIN}\n\nnew\n\n${END}\nafter`)
  assert.equal(insert(insert(page, 'new'), 'new'), insert(page, 'new'))
  assert.throws(() => insert('no place', 'new'), /no place/)
})

test('both reports say what is in a number and what was left out', () => {
  for (const report of [markdown(RESULT), html(RESULT)]) {
    assert.match(report, /up to 30 others .* that are not counted/)
    assert.match(report, /routing .* in no number/)
    assert.match(report, /asked for a literal/)
  }
})

test('a cold tenant for which nothing is loaded wins against nobody', () => {
  const empty = architecture('warm-proxy', 3)
  const instant = { ...empty, times: { ...empty.times, first: of(0), cold: of(0) } }
  const all = [instant, architecture('pooled', 1)]
  for (const { chosen } of choices(all)) assert.deepEqual(chosen, ['pooled'])
})

test('docs/architectures.md has the place', () => {
  const page = readFileSync(new URL('../../docs/architectures.md', import.meta.url), 'utf8')
  assert.ok(insert(page, 'tables').includes('tables'))
})

test('the page shows what there is, and nothing of it as markup', () => {
  const page = html(RESULT)
  assert.ok(page.includes('what pooled &lt;is&gt; &amp; does'))
  assert.ok(!page.includes('<is>'))
  assert.equal(page.match(/<svg/g)?.length, 7)
  assert.equal(page.match(/<rect/g)?.length, 7 * RESULT.architectures.length)
  assert.doesNotMatch(page, /NaN|undefined|Infinity|<script|src=|http-equiv/)
})

test('bars of nothing, and of equal numbers, have a width', () => {
  const zero = { ...architecture('pooled', 1), memory: { idle: 0, first: 0, further: 0 } }
  assert.doesNotMatch(html({ ...RESULT, architectures: [zero] }), /NaN|Infinity/)
})

test('the seeds have published something of every architecture', () => {
  for (const [name, figures] of Object.entries(PUBLISHED)) assert.ok(figures.length > 0, name)
})
