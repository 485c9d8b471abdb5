/** A run of the comparison as markdown: the tables of docs/architectures.md, as printed. */
import { insertBlock } from '../documents.ts'
import { machineLine } from '../machine.ts'
import type { Summary } from '../statistics.ts'
import { choiceRows } from './choose.ts'
import { PUBLISHED } from './published.ts'
import { METHOD } from './method.ts'
import type { ArchitectureResult, ComparisonResult } from './results.ts'
import { targetRows } from './targets.ts'

/** What it is written between in the page. */
export const BEGIN = '<!-- bench:cloudflare -->'
export const END = '<!-- /bench:cloudflare -->'

export function markdown(result: ComparisonResult): string {
  const { at, rounds, tenants, ping, architectures, bundles } = result
  return [
    `Run of ${at.slice(0, 10)}, ${rounds} rounds of ${tenants} tenants;`,
    `${machineLine(result.machine)}.`,
    'Times in milliseconds, median, above a bare ping of an object',
    `(an HTTP request with one takes ${decimal(ping.http)}, one more ${decimal(ping.rpc)}).`,
    ...METHOD,
    '',
    '**Time**',
    '',
    table(
      ['', 'first of a fresh runtime', 'cold tenant (p99)', 'warm select', 'by turns', 'insert'],
      architectures.map(({ name, times }) => [
        `\`/${name}\``,
        decimal(times.first),
        `${decimal(times.cold)} (${number(times.cold.p99)})`,
        decimal(times.warm),
        decimal(times.turns),
        decimal(times.write),
      ]),
    ),
    '',
    '**Memory and size** (MB; memory is resident, of the whole process; sizes under gzip)',
    '',
    table(
      [
        '',
        'idle runtime',
        'first tenant',
        'each further one',
        'Worker with it alone',
        'and its compute',
      ],
      architectures.map(sizesOf),
    ),
    '',
    `As deployed: ${bundles.map(bundleLine).join('; ')}.`,
    '',
    '**Which one when** (read off the tables above; several names: no difference that counts)',
    '',
    table(
      ['need', 'choose', 'measured'],
      choiceRows(architectures, (name) => `\`/${name}\``),
    ),
    '',
    '**Aims of `/pooled`**',
    '',
    table(['', 'aim', 'measured', ''], targetRows(result)),
    '',
    '**What the seeds have published**',
    '(in production, over the network, with stock PGlite: beside, not against)',
    '',
    table(
      ['', 'published'],
      architectures.map(({ name }) => [`\`/${name}\``, publishedOf(name)]),
    ),
  ].join('\n')
}

/** The page with the tables of this run in it. Throws if it has no place for them. */
export function insert(page: string, tables: string): string {
  return insertBlock(page, tables, BEGIN, END)
}

function bundleLine({ name, gzipBytes, bytes }: ComparisonResult['bundles'][number]): string {
  return `\`${name}\` ${mega(gzipBytes)} MB under gzip, ${mega(bytes)} plain`
}

function sizesOf({ name, memory, bundle }: ArchitectureResult): string[] {
  const { idle, first, further } = memory
  const compute = bundle.computeBytes > 0 ? mega(bundle.computeBytes) : ''
  return [`\`/${name}\``, mega(idle), mega(first), mega(further), mega(bundle.ownBytes), compute]
}

export function publishedOf(name: string): string {
  const figures = PUBLISHED[name] ?? []
  return figures.map(({ what, figure, seed }) => `${what} ${figure} (seed ${seed})`).join('; ')
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

function decimal({ median }: Summary): string {
  return number(median)
}

/** Three digits: a median of a few rounds has no more. */
export function number(value: number): string {
  if (value >= 100) return value.toFixed(0)
  return value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

export function mega(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes >= 1e7 ? 0 : 2)
}
