/**
 * `npm run simulate [-- --seed N --tenants N --days N --learning N --image-cache MB ...]`:
 * what keeping tenants warm is worth in a replayed trace, with and without, as a table. Exit code 2
 * for wrong flags.
 */
import { parseArgs } from 'node:util'
import { compare, type Outcome } from './keep-warm.ts'
import type { Tier } from './tiers.ts'

const MB = 2 ** 20
const DEFAULTS = {
  seed: '1',
  tenants: '2000',
  days: '21',
  learning: '7',
  'image-cache': '128',
  'image-disk': '220',
  pinned: '0',
} as const

const NAMES = Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[]
const say = (line: string): void => void process.stdout.write(`${line}\n`)

function readFlags(): Record<keyof typeof DEFAULTS, number> {
  const options = Object.fromEntries(NAMES.map((name) => [name, { type: 'string' as const }]))
  const { values } = parseArgs({ options })
  const numbers = NAMES.map((name) => [name, Number(values[name] ?? DEFAULTS[name])] as const)
  const wrong = numbers.find(([, value]) => !Number.isInteger(value) || value < 0)
  if (wrong) throw new Error(`--${wrong[0]} takes a whole number`)
  return Object.fromEntries(numbers) as Record<keyof typeof DEFAULTS, number>
}

function main(): number {
  let flags: Record<keyof typeof DEFAULTS, number>
  try {
    flags = readFlags()
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.stderr.write(`flags: ${NAMES.map((name) => `--${name} ${DEFAULTS[name]}`).join(' ')}\n`)
    return 2
  }
  const { seed, tenants, days, learning, pinned } = flags
  const cache = flags['image-cache']
  const disk = flags['image-disk']
  const outcome = compare({
    seed,
    tenants,
    days,
    learningDays: learning,
    imageCacheBytes: cache * MB,
    imageDiskBytes: disk * MB,
    pinned,
  })
  say(`seed ${seed}: ${tenants} tenants, ${days} days, the first ${learning} only learned from;`)
  say(`images: ${cache} MB in memory, ${disk} MB on disk; ${pinned} pinned`)
  say('')
  say(row('', ['without', 'with']))
  const both = [outcome.without, outcome.with]
  const line = (name: string, of: (one: Outcome) => string): void => say(row(name, both.map(of)))
  line('requests', ({ requests }) => String(requests))
  const tiers: Tier[] = ['awake', 'napping', 'asleep', 'cold', 'new']
  for (const tier of tiers) {
    line(`found ${tier}`, ({ found, requests }) => percent(found[tier] / requests))
  }
  line('at rest, found in memory', ({ inMemory }) => percent(inMemory))
  line('mean wake per request', ({ wakeMs }) => `${wakeMs.toFixed(3)} ms`)
  line('warmed, per day', ({ counts }) => (counts.warmed / days).toFixed(0))
  line('of those used in time', ({ counts }) =>
    counts.warmed === 0 ? '-' : percent(counts.hits / counts.warmed),
  )
  return 0
}

function row(name: string, cells: readonly string[]): string {
  return name.padEnd(28) + cells.map((cell) => cell.padStart(12)).join('')
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`
}

process.exitCode = main()
