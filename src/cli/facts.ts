/**
 * Facts about something (a tenant, a store) as text for people: one line per fact, or one table
 * row per thing. Which facts there are is the server's business, so nothing here names them; what
 * a number means is told by the last word of its name, as everywhere in pgnap.
 */
import { visible } from './display-width.ts'
import { type TableColumn, formatTable } from './table.ts'

/** One thing: a line for each fact, then a table for each list of things within it. */
export function formatFacts(facts: object): string {
  const lists = Object.entries(facts).filter(([, value]) => isListOfThings(value))
  const named = lists.map(([name]) => name)
  const others = Object.entries(facts).filter(([name]) => !named.includes(name))
  const flat = flatten(Object.fromEntries(others))
  const width = Math.max(0, ...flat.map(({ name }) => name.length))
  const lines = flat.map(({ name, text }) => `${name.padEnd(width)}  ${visible(text)}\n`)
  const tables = lists.map(([name, things]) => `\n${name}\n${formatFactsTable(things as object[])}`)
  return [...lines, ...tables].join('')
}

function isListOfThings(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === 'object')
}

/** Many things of one kind: a table with a column for each fact. */
export function formatFactsTable(things: readonly object[]): string {
  const flat = things.map((thing) => flatten(thing))
  const names = [...new Set(flat.flatMap((facts) => facts.map(({ name }) => name)))]
  const columns: TableColumn[] = names.map((name) => ({
    name,
    alignRight: flat.every((facts) => facts.find((fact) => fact.name === name)?.numeric !== false),
  }))
  const rows = flat.map((facts) =>
    names.map((name) => facts.find((fact) => fact.name === name)?.text ?? ''),
  )
  return formatTable(columns, rows)
}

interface Fact {
  /** With dots for facts within facts, without the unit, which is part of the text. */
  readonly name: string
  readonly text: string
  readonly numeric: boolean
}

function flatten(facts: object, prefix = ''): Fact[] {
  return Object.entries(facts).flatMap(([name, value]: [string, unknown]): Fact[] => {
    const whole = prefix + name
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return flatten(value, `${whole}.`)
    }
    const text = textOf(name, value)
    return [{ name: whole.replace(/(?:Bytes|Ms)$/, ''), text, numeric: typeof value === 'number' }]
  })
}

function textOf(name: string, value: unknown): string {
  if (typeof value === 'number') {
    if (name.endsWith('Bytes')) return formatBytes(value)
    // Moments are far beyond every duration: 10^12 ms is the year 2001.
    if (name.endsWith('Ms')) return value > 1e12 ? new Date(value).toISOString() : `${value} ms`
    return String(value)
  }
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}

/** Bytes for people, in the units of Postgres: `812 B`, `31 kB`, `1.4 GB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let index = 0
  while (value >= 1024 && index < units.length - 1) {
    value /= 1024
    index++
  }
  return `${index === 0 || value >= 10 ? Math.round(value) : value.toFixed(1)} ${units[index]}`
}
