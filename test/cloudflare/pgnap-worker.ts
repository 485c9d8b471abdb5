/** The shipped Worker, for tests: built once per process from this checkout. */
import type { MiniflareOptions } from 'miniflare'
import { bundleWorker, type WorkerFiles } from '../../scripts/cloudflare/bundle.ts'
import { engineFiles } from '../../scripts/cloudflare/engine-files.ts'
import { type RunningWorker, startWorker } from '../../scripts/cloudflare/local.ts'

let files: Promise<WorkerFiles> | undefined

/** As `npm run build:cloudflare` makes them. */
export function workerFiles(): Promise<WorkerFiles> {
  return (files ??= engineFiles().then((engine) =>
    bundleWorker({ entry: 'src/cloudflare.ts', engine }),
  ))
}

export interface WorkerUnderTest extends RunningWorker {
  /** Asks one statement over HTTP; the first value of its first row. */
  ask(tenant: string, sql: string, ...parameters: readonly unknown[]): Promise<unknown>
  /** What POST /v1/tenants/:name/query answers. */
  query(tenant: string, sql: string, ...parameters: readonly unknown[]): Promise<Response>
}

/** Starts it. @param bindings settings and secrets. @param instead another program around it */
export async function startPgnap(
  bindings: Readonly<Record<string, string>> = {},
  options: Partial<MiniflareOptions> = {},
  instead?: WorkerFiles,
): Promise<WorkerUnderTest> {
  const worker = await startWorker(instead ?? (await workerFiles()), {
    bindings,
    ...options,
  } as Partial<MiniflareOptions>)
  const query: WorkerUnderTest['query'] = (tenant, sql, ...parameters) =>
    worker.fetch(`/v1/tenants/${tenant}/query`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sql, params: parameters }),
    })
  return {
    ...worker,
    query,
    ask: async (tenant, sql, ...parameters) => {
      const answer = await query(tenant, sql, ...parameters)
      const body = (await answer.json()) as { rows?: Record<string, unknown>[] }
      if (!answer.ok) throw new Error(`${answer.status} ${JSON.stringify(body)}`)
      return Object.values(body.rows?.[0] ?? {})[0]
    },
  }
}
