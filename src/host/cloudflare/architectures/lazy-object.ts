/**
 * The object of `/lazy-wasm`: a store without Postgres that begins to fetch and compile the code of
 * Postgres with its first request, and lets the compute Worker answer meanwhile.
 *
 * The platform compiles no code at run time, so loading always ends in `failed`, and the object
 * delegates for ever: it is `/thin` with an errand. The states are the same ones that reach `ready`
 * on Node (`src/host/lazy-wasm.ts`); what would come after is not here, since nothing could show
 * that it works. Nobody loads it for nothing: what one object was refused the others of its isolate
 * do not try, unless they are forced to.
 */
import { PgnapError } from '../../../base/errors.ts'
import { LazyWasm, type LazyFacts } from '../../lazy-wasm.ts'
import { workerClock } from '../clock.ts'
import { type Outcome, outcomeOf } from '../outcome.ts'
import type { RemoteServed } from './architecture.ts'
import { delaysOf } from './isolate-delays.ts'
import { R2ObjectBucket } from '../r2-bucket.ts'
import { StateObject, type StateFacts, type StateQuery } from './state-object.ts'

/** Where the code lies in R2, and by which address in the cache. */
export const LAZY_CODE_KEY = 'engine/pglite.wasm'
const CACHE_ADDRESS = `https://cache.invalid/${LAZY_CODE_KEY}`

/** The platform's types leave out what it refuses. */
const compiler = WebAssembly as unknown as {
  compile(code: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module>
}

/** What compiling was refused with: as true for every object of this isolate. */
let refusal: Error | undefined

async function compile(code: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  try {
    return await compiler.compile(code)
  } catch (error) {
    refusal = error instanceof Error ? error : new Error(String(error))
    throw error
  }
}

export class LazyObject extends StateObject {
  readonly #wasm = new LazyWasm<never>({
    clock: workerClock,
    fromCache,
    fromBucket: () => this.#fromBucket(),
    toCache,
    compile,
    initialize: async () => {
      throw new PgnapError('NOT_SUPPORTED', 'this platform has never let code be compiled', {
        hint: 'use /hybrid or /pooled, whose code is compiled with the Worker',
      })
    },
  })

  override query(asked: StateQuery): Promise<Outcome<RemoteServed>> {
    this.ctx.waitUntil(this.#wasm.start())
    return outcomeWith(super.query(asked), () => ({ wasm: wasmNote(this.#wasm.facts()) }))
  }

  forceLoad(): Promise<Outcome<LazyFacts>> {
    return outcomeOf(async () => {
      // Somebody wants to know it now.
      refusal = undefined
      await this.#wasm.force()
      return this.#wasm.facts()
    })
  }

  lazyFacts(): Promise<Outcome<LazyFacts & { readonly store: Outcome<StateFacts> }>> {
    return outcomeOf(async () => ({ ...this.#wasm.facts(), store: await this.facts() }))
  }

  async #fromBucket(): Promise<Uint8Array<ArrayBuffer>> {
    if (refusal) throw refusal
    const startMs = workerClock.monotonicMs()
    const found = await new R2ObjectBucket(this.env.BUCKET).get(LAZY_CODE_KEY)
    delaysOf('lazy-wasm').record('load', workerClock.monotonicMs() - startMs)
    if (found) return found.bytes
    throw new PgnapError('STORE_IO', `there is no ${LAZY_CODE_KEY} in the bucket`, {
      hint: `put it there: wrangler r2 object put BUCKET/${LAZY_CODE_KEY} --file pglite.wasm`,
    })
  }
}

/** What a client is told with each answer. */
function wasmNote({ state, failure }: LazyFacts): Readonly<Record<string, unknown>> {
  return { state, ...(failure === undefined ? {} : { failure, delegatesForEver: true }) }
}

async function outcomeWith(
  asking: Promise<Outcome<RemoteServed>>,
  more: () => Readonly<Record<string, unknown>>,
): Promise<Outcome<RemoteServed>> {
  const outcome = await asking
  if ('error' in outcome) return outcome
  const { result } = outcome
  return { result: { ...result, notes: { ...result.notes, ...more() } } }
}

async function fromCache(): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (refusal) return undefined
  const startMs = workerClock.monotonicMs()
  const found = await caches.default.match(CACHE_ADDRESS)
  if (!found) return undefined
  const code = new Uint8Array(await found.arrayBuffer())
  delaysOf('lazy-wasm').record('load', workerClock.monotonicMs() - startMs)
  return code
}

async function toCache(code: Uint8Array<ArrayBuffer>): Promise<void> {
  const headers = { 'Cache-Control': 'max-age=86400', 'Content-Type': 'application/wasm' }
  await caches.default.put(CACHE_ADDRESS, new Response(code, { headers }))
}
