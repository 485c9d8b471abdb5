/** Workers in workerd, on this machine: through Miniflare, with nothing from the network. */
import { Miniflare, type MiniflareOptions, type WorkerOptions } from 'miniflare'
import type { WorkerFiles } from '../../scripts/cloudflare/bundle.ts'

/** As in wrangler.jsonc. */
export const COMPATIBILITY: Pick<WorkerOptions, 'compatibilityDate' | 'compatibilityFlags'> = {
  compatibilityDate: '2026-04-01',
  compatibilityFlags: ['nodejs_compat'],
}

export interface RunningWorker extends AsyncDisposable {
  readonly url: URL
  readonly miniflare: Miniflare
}

/** Starts the files of a Worker. Its storage is gone with it, unless `options` say where it is. */
export async function startWorker(
  files: WorkerFiles,
  options: Partial<MiniflareOptions> = {},
): Promise<RunningWorker> {
  const miniflare = new Miniflare({
    modules: Array.from(files, ([path, contents]) => moduleOf(path, contents)).toSorted(mainFirst),
    ...COMPATIBILITY,
    ...options,
  } as MiniflareOptions)
  return {
    url: await miniflare.ready,
    miniflare,
    [Symbol.asyncDispose]: () => miniflare.dispose(),
  }
}

interface WorkerModule {
  readonly type: 'ESModule' | 'CompiledWasm' | 'Data'
  readonly path: string
  readonly contents: Uint8Array
}

function moduleOf(path: string, contents: Uint8Array): WorkerModule {
  const type = path.endsWith('.js') ? 'ESModule' : path.endsWith('.wasm') ? 'CompiledWasm' : 'Data'
  return { type, path, contents }
}

/** Miniflare takes the first module for the program. */
function mainFirst(a: WorkerModule, b: WorkerModule): number {
  return Number(b.type === 'ESModule') - Number(a.type === 'ESModule')
}
