/**
 * Reads Prometheus's text format strictly, so that a test fails where a scraper would guess: every
 * sample belongs to the family whose HELP and TYPE stand right before it, no series comes twice,
 * names and units follow the conventions, and a histogram's buckets grow up to its count.
 *
 * Source: Prometheus documentation, "Exposition formats" (text format 0.0.4), "Metric and label
 * naming".
 */
import assert from 'node:assert/strict'

export interface Family {
  readonly name: string
  readonly help: string
  readonly type: string
  /** By the series as it is written, without its value. */
  readonly samples: Map<string, number>
}

const NAME = /^[a-z_:][a-z0-9_:]*$/
const SAMPLE = /^([a-z_:][a-z0-9_:]*)(\{.*\})? (\S+)$/i
const LABELS = /^\{(?:[a-z_][a-z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)+\}$/i
/** As Go reads numbers, in any case: prom-client writes `Nan`. */
const NUMBER = /^(?:[+-]?inf|nan|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/i
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  histogram: ['_bucket', '_sum', '_count'],
  summary: ['', '_sum', '_count'],
}

export function parseExposition(text: string): ReadonlyMap<string, Family> {
  assert.ok(text.endsWith('\n'), 'the last line ends')
  const families = new Map<string, Family>()
  let help: readonly [string, string] | undefined
  let family: Family | undefined
  for (const line of text.split('\n')) {
    if (line === '') continue
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? []
    if (kind === 'HELP') {
      help = [name, rest]
    } else if (kind === 'TYPE') {
      assert.equal(help?.[0], name, `HELP of ${name} comes before its TYPE`)
      assert.match(name, NAME)
      assert.ok(!families.has(name), `${name} comes once`)
      family = { name, help: help[1], type: rest, samples: new Map() }
      families.set(name, family)
    } else {
      assert.ok(family, 'a sample has a family')
      readSample(family, line)
    }
  }
  for (const each of families.values()) checkFamily(each)
  return families
}

function readSample({ name, type, samples }: Family, line: string): void {
  const [, sample = '', labels, value = ''] = SAMPLE.exec(line) ?? assert.fail(`no sample: ${line}`)
  if (labels !== undefined) assert.match(labels, LABELS)
  assert.match(value, NUMBER)
  const suffixes = SUFFIXES[type] ?? ['']
  assert.ok(
    suffixes.some((suffix) => sample === name + suffix),
    `${sample} belongs to ${name}`,
  )
  const series = line.slice(0, line.lastIndexOf(' '))
  assert.ok(!samples.has(series), `${series} comes once`)
  samples.set(series, Number(value.replace('Inf', 'Infinity')))
}

function checkFamily({ name, type, samples }: Family): void {
  // Those of Node's own metrics are prom-client's affair.
  if (!name.startsWith('pgnap_')) return
  assert.doesNotMatch(name, /_(?:ms|milliseconds|kb|mb|percent)(?:_|$)/, 'base units')
  assert.equal(name.endsWith('_total'), type === 'counter', `${name}: counters end in _total`)
  for (const value of samples.values()) {
    assert.ok(Number.isFinite(value) && value >= 0, `${name} is counted`)
  }
  if (type === 'histogram') checkBuckets(name, samples)
}

function checkBuckets(name: string, samples: ReadonlyMap<string, number>): void {
  const last = new Map<string, { edge: number; seen: number }>()
  for (const [series, seen] of samples) {
    const [, edgeText] = /le="([^"]+)"/.exec(series) ?? []
    if (edgeText === undefined) continue
    const labels = series.replace(/,?le="[^"]+"/, '').replace('_bucket', '')
    const edge = Number(edgeText.replace('Inf', 'Infinity'))
    const before = last.get(labels) ?? { edge: -1, seen: 0 }
    assert.ok(edge > before.edge && seen >= before.seen, `${series} grows`)
    last.set(labels, { edge, seen })
  }
  for (const [labels, { edge, seen }] of last) {
    assert.equal(edge, Infinity, `${labels} ends with +Inf`)
    const count = labels.replace(name, `${name}_count`).replace('{}', '')
    assert.equal(samples.get(count), seen, `${count} is the last bucket`)
  }
}
