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

/**
 * Where Postgres stands on its store there is one way: pages come as they are read, and an answer
 * leaves when its commit is stored. Who asks for another is not to believe that he has it.
 * @throws PgnapError REQUEST_INVALID, NOT_SUPPORTED
 */
export function onlyAtHome(url: URL): void {
  const { searchParams } = url
  const { load, write, staleAllowed } = strategiesIn(url)
  const isOther = (searchParams.has('load') && load !== 'lazy') || write !== 'sync' || staleAllowed
  if (isOther) throw unavailable('here Postgres is where the store is: load=lazy, write=sync')
}

/** Where there is no store, nothing is loaded from it or written to it. */
export function onlyInMemory({ searchParams }: URL): void {
  const asked = ['load', 'write', 'stale'].find((name) => searchParams.has(name))
  if (asked !== undefined) throw unavailable('here is no store: nothing is durable')
}

function unavailable(message: string): PgnapError {
  return new PgnapError('NOT_SUPPORTED', message, {
    hint: 'leave out "load", "write" and "stale", or ask /thin, /factory, /ws or /hybrid',
  })
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
