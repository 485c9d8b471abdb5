/**
 * A run of the comparison as one page: charts of bars, one per architecture, and the tables beside.
 * It loads nothing and runs nothing.
 */
import { machineLine } from '../machine.ts'
import { choiceRows } from './choose.ts'
import { mega, number, publishedOf } from './markdown.ts'
import { METHOD } from './method.ts'
import type { ArchitectureResult, ComparisonResult } from './results.ts'
import { targetRows } from './targets.ts'

interface Chart {
  readonly title: string
  readonly note: string
  readonly value: (result: ArchitectureResult) => number
  readonly label: (value: number) => string
}

const milliseconds = (value: number): string => `${number(value)} ms`
const megabytes = (value: number): string => `${mega(value)} MB`

const CHARTS: readonly Chart[] = [
  {
    title: 'A cold tenant in a warm isolate',
    note: 'first statement of a tenant that is in no memory',
    value: ({ times }) => times.cold.median,
    label: milliseconds,
  },
  {
    title: 'The first request of a fresh runtime',
    note: 'everything is cold, the engine too',
    value: ({ times }) => times.first.median,
    label: milliseconds,
  },
  {
    title: 'A warm select',
    note: 'one tenant, again and again',
    value: ({ times }) => times.warm.median,
    label: milliseconds,
  },
  {
    title: 'Four tenants by turns',
    note: 'each select finds another tenant’s memory in the slot',
    value: ({ times }) => times.turns.median,
    label: milliseconds,
  },
  {
    title: 'An insert',
    note: 'acknowledged; durable but for /warm-proxy',
    value: ({ times }) => times.write.median,
    label: milliseconds,
  },
  {
    title: 'Memory of each further tenant',
    note: 'resident, of the whole process',
    value: ({ memory }) => Math.max(0, memory.further),
    label: megabytes,
  },
  {
    title: 'The Worker with this architecture alone',
    note: 'under gzip, without the Worker that computes for it',
    value: ({ bundle }) => bundle.ownBytes,
    label: megabytes,
  },
]

const STYLE = `
:root { color-scheme: light dark; --bar: #3b6ea8; --own: #b5502f; --line: #8884; }
@media (prefers-color-scheme: dark) { :root { --bar: #6f9fd8; --own: #e08a66; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
.charts { display: grid; gap: 1rem 2rem;
grid-template-columns: repeat(auto-fit, minmax(27rem, 1fr)); }
figure { margin: 0; } figcaption { font-weight: 600; }
figcaption small, .note { font-weight: 400; opacity: .7; display: block; }
svg { width: 100%; height: auto; } text { font: 12px system-ui, sans-serif; fill: currentColor; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .25rem .6rem;
border-bottom: 1px solid var(--line); vertical-align: top; } .table { overflow-x: auto; }`

const LABEL_PX = 100
const BAR_PX = 300
const ROW_PX = 22

export function html(result: ComparisonResult): string {
  const { at, rounds, tenants, architectures, machine, smoke } = result
  const run = `${at.slice(0, 10)}, ${rounds} rounds of ${tenants} tenants`
  const subtitle = `${run}; ${machineLine(machine)}`
  return [
    '<!doctype html>',
    '<html lang="en"><meta charset="utf-8"><title>pgnap on Workers: the architectures</title>',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<style>${STYLE}</style>`,
    '<h1>pgnap on Workers: every architecture, one run</h1>',
    `<p class="note">${escape(subtitle)}</p>`,
    ...(smoke ? ['<p><strong>A smoke run: it measures nothing.</strong></p>'] : []),
    '<p>Local workerd, measured from outside, above a bare ping of an object.',
    'Medians; shorter is better. Bars are on a logarithmic scale.</p>',
    ...METHOD.map((sentence) => `<p class="note">${escape(sentence)}</p>`),
    '<h2>Which one when</h2>',
    table(
      ['need', 'choose', 'measured'],
      choiceRows(architectures, (name) => `/${name}`),
    ),
    '<h2>Measured</h2>',
    `<div class="charts">${CHARTS.map((chart) => figure(chart, architectures)).join('\n')}</div>`,
    '<h2>Aims of /pooled</h2>',
    table(['', 'aim', 'measured', ''], targetRows(result)),
    '<h2>What they are, and what the seeds have published of them</h2>',
    '<p class="note">Published: in production, over the network, with stock PGlite.',
    'Beside, not against.</p>',
    table(
      ['', 'what', 'what a write survives', 'published'],
      architectures.map(({ name, what, durability }) => [
        `/${name}`,
        what,
        durability,
        publishedOf(name),
      ]),
    ),
    '</html>',
    '',
  ].join('\n')
}

function figure(
  { title, note, value, label }: Chart,
  architectures: readonly ArchitectureResult[],
): string {
  const bars = architectures
    .map((result) => ({ name: result.name, value: value(result) }))
    .toSorted((a, b) => a.value - b.value)
  const widths = scale(bars.map((bar) => bar.value))
  const rows = bars.map((bar, index) => {
    const y = index * ROW_PX
    const width = widths[index] ?? 0
    const fill = bar.name === 'pooled' ? 'var(--own)' : 'var(--bar)'
    return [
      `<text x="${LABEL_PX - 8}" y="${y + 15}" text-anchor="end">/${escape(bar.name)}</text>`,
      `<rect x="${LABEL_PX}" y="${y + 4}" width="${width.toFixed(1)}" height="14" fill="${fill}"/>`,
      `<text x="${(LABEL_PX + width + 6).toFixed(1)}" y="${y + 15}">`,
      `${escape(label(bar.value))}</text>`,
    ].join('')
  })
  const box = `0 0 ${LABEL_PX + BAR_PX + 70} ${bars.length * ROW_PX}`
  return [
    `<figure><figcaption>${escape(title)}<small>${escape(note)}</small></figcaption>`,
    `<svg viewBox="${box}" role="img" aria-label="${escape(title)}">`,
    ...rows,
    '</svg></figure>',
  ].join('\n')
}

/** Widths of bars on a logarithmic scale that begins a tenth below the smallest. */
function scale(values: readonly number[]): number[] {
  const positive = values.filter((value) => value > 0)
  if (positive.length === 0) return values.map(() => 0)
  const low = Math.log10(Math.min(...positive)) - 0.1
  const high = Math.max(Math.log10(Math.max(...positive)), low + 0.2)
  return values.map((value) =>
    value > 0 ? ((Math.log10(value) - low) / (high - low)) * BAR_PX : 0,
  )
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[], tag: 'td' | 'th'): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('')}</tr>`
  const body = rows.map((cells) => row(cells, 'td')).join('\n')
  return `<div class="table"><table>${row(head, 'th')}\n${body}</table></div>`
}

function escape(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
  }
  return text.replaceAll(/[&<>"]/g, (character) => entities[character] ?? '')
}
