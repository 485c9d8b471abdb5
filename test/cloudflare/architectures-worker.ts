/** The shipped Worker of the comparison, for tests: built once per process from this checkout. */
import type { SharedOptions } from 'miniflare'
import {
  ARCHITECTURES_ENTRY,
  bundleWorker,
  type WorkerFiles,
} from '../../scripts/cloudflare/bundle.ts'
import { engineFiles } from '../../scripts/cloudflare/engine-files.ts'
import { type RunningWorker, startArchitectures } from '../../scripts/cloudflare/local.ts'

/** Longer than anything takes: a request that hangs is to say which one it is. */
const ANSWER_MS_MAX = 90_000

let files: Promise<WorkerFiles> | undefined

/** As `npm run build:cloudflare` makes them. */
export function architecturesFiles(): Promise<WorkerFiles> {
  return (files ??= engineFiles().then((engine) =>
    bundleWorker({ entry: ARCHITECTURES_ENTRY, engine }),
  ))
}

/** What `/NAME/query` and `/NAME/timing` answer, as far as tests look at it. */
export interface QueryBody {
  readonly architecture: string
  readonly tenant: string
  readonly servedBy: string
  readonly rows: readonly Readonly<Record<string, unknown>>[]
  readonly timing?: {
    readonly totalMs: number
    readonly phases: readonly { readonly name: string; readonly ms: number }[]
  }
  readonly [note: string]: unknown
}

export interface ArchitecturesUnderTest extends RunningWorker {
  get(path: string, tenant?: string): Promise<Response>
  post(path: string, tenant?: string, body?: unknown): Promise<Response>
  /** Asks one statement of an architecture; what it answers. Rejects if that is an error. */
  query(
    name: string,
    tenant: string,
    sql: string,
    ...parameters: readonly unknown[]
  ): Promise<QueryBody>
  /** The same with its phases. */
  timing(
    name: string,
    tenant: string,
    sql: string,
    ...parameters: readonly unknown[]
  ): Promise<QueryBody>
  /** The first value of its first row. */
  ask(
    name: string,
    tenant: string,
    sql: string,
    ...parameters: readonly unknown[]
  ): Promise<unknown>
}

/**
 * Starts it. @param bindings settings and secrets of all its Workers. @param shared options for all
 * of them together. @param instead another program around it
 */
export async function startArchitecturesForTest(
  bindings: Readonly<Record<string, string>> = {},
  shared: SharedOptions = {},
  instead?: WorkerFiles,
): Promise<ArchitecturesUnderTest> {
  const program = instead ?? (await architecturesFiles())
  const worker = await startArchitectures(program, { bindings }, shared)
  const ask = async (
    method: string,
    path: string,
    tenant?: string,
    body?: unknown,
  ): Promise<Response> => {
    const text = JSON.stringify(body)
    try {
      return await worker.fetch(path, {
        method,
        headers: tenant === undefined ? {} : { 'X-Tenant-Id': tenant },
        ...(body === undefined ? {} : { body: text }),
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      })
    } catch (cause) {
      throw new Error(`no answer to ${method} ${path} of ${tenant}: ${text}`, { cause })
    }
  }
  const run = async (path: string, tenant: string, body: unknown): Promise<QueryBody> => {
    const answer = await ask('POST', path, tenant, body)
    const said = (await answer.json()) as QueryBody
    if (!answer.ok) throw new Error(`${answer.status} ${JSON.stringify(said)}`)
    return said
  }
  const query: ArchitecturesUnderTest['query'] = (name, tenant, sql, ...params) =>
    run(`/${name}/query`, tenant, { sql, params })
  return {
    ...worker,
    query,
    get: (path, tenant) => ask('GET', path, tenant),
    post: (path, tenant, body) => ask('POST', path, tenant, body ?? {}),
    timing: (name, tenant, sql, ...params) => run(`/${name}/timing`, tenant, { sql, params }),
    ask: async (name, tenant, sql, ...params) => {
      const { rows } = await query(name, tenant, sql, ...params)
      return Object.values(rows[0] ?? {})[0]
    },
  }
}

/** The same around homes that can be made to fail, and strategies by name. */
export async function startFailingArchitectures(): Promise<ArchitecturesUnderTest> {
  const entry = 'test/cloudflare/worker/strategies-worker.ts'
  const files = await bundleWorker({ entry, engine: await engineFiles() })
  return startArchitecturesForTest({}, {}, files)
}
