/** The flags of `npm run torture`. */
import { parseArgs } from 'node:util'
import type { TortureOptions } from './torture.ts'

export const USAGE = `npm run torture -- [--seed S] [--rounds N] [--tenants T] [--clients C]

  --seed      chooses what is done and when the server is killed; default: the time of day
  --rounds    how often the server is killed; default 20
  --tenants   databases; default 12
  --clients   clients at work at once; default 8
  --shards    threads of the server; default 2
  --slots     tenants that a thread holds awake; default 2, so that they are evicted all the time
  --verbose   one line per round
`

export interface TortureFlags extends Omit<TortureOptions, 'report'> {
  readonly verbose: boolean
}

/** Reads the flags. Throws a TypeError that explains what is wrong. */
export function parseFlags(flags: readonly string[], nowMs: number): TortureFlags {
  const { values } = parseArgs({
    args: [...flags],
    options: {
      seed: { type: 'string', default: String(Math.floor(nowMs) % 1_000_000) },
      rounds: { type: 'string', default: '20' },
      tenants: { type: 'string', default: '12' },
      clients: { type: 'string', default: '8' },
      shards: { type: 'string', default: '2' },
      slots: { type: 'string', default: '2' },
      verbose: { type: 'boolean', default: false },
    },
  })
  const count = (name: 'seed' | 'rounds' | 'tenants' | 'clients' | 'shards' | 'slots'): number => {
    const value = Number(values[name])
    const min = name === 'seed' ? 0 : 1
    if (Number.isInteger(value) && value >= min) return value
    throw new TypeError(`--${name} takes a whole number from ${min}, not "${values[name]}"`)
  }
  return {
    seed: count('seed'),
    rounds: count('rounds'),
    tenants: count('tenants'),
    clients: count('clients'),
    shards: count('shards'),
    slots: count('slots'),
    verbose: values.verbose,
  }
}
