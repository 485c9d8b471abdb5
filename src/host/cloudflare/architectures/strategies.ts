/** How a request wants its tenant loaded and written: `?load=delta&write=async&stale=allow`. */
import { PgnapError } from '../../../base/errors.ts'
import { LOAD_STRATEGIES, type LoadName } from '../../../replica/load-strategy.ts'
import { WRITE_STRATEGIES, type WriteName } from '../../../replica/write-back.ts'
import type { Strategies } from './compute-pool.ts'

const LOADS: readonly LoadName[] = [...Object.values(LOAD_STRATEGIES).map(nameOf), 'lazy']
const WRITES: readonly WriteName[] = Object.values(WRITE_STRATEGIES).map(nameOf)

export interface StrategiesAsked extends Strategies {
  /** What was known of the tenant will do, if its home does not answer. */
  readonly staleAllowed: boolean
}

/** @throws PgnapError REQUEST_INVALID */
export function strategiesIn({ searchParams }: URL): StrategiesAsked {
  const load = oneOf(searchParams.get('load') ?? 'image', LOADS, 'load')
  const write = oneOf(searchParams.get('write') ?? 'sync', WRITES, 'write')
  const stale = oneOf(searchParams.get('stale') ?? 'refuse', ['refuse', 'allow'] as const, 'stale')
  return { load, write, staleAllowed: stale === 'allow' }
}

function nameOf<Name>({ name }: { readonly name: Name }): Name {
  return name
}

function oneOf<Name extends string>(text: string, names: readonly Name[], what: string): Name {
  const found = names.find((name) => name === text)
  if (found !== undefined) return found
  throw new PgnapError('REQUEST_INVALID', `"${text}" is nothing that "${what}" can be`, {
    hint: `one of ${names.join(', ')}`,
  })
}
