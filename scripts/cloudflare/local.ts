/** The Worker in workerd on this machine, by Miniflare: for development and for measuring. */
import { readFileSync } from 'node:fs'
import { Miniflare, type MiniflareOptions } from 'miniflare'
import type { WorkerFiles } from './bundle.ts'

/** What of wrangler.jsonc is for wherever a Worker runs, so that it is said once. */
interface WranglerConfig {
  readonly compatibility_date: string
  readonly compatibility_flags: string[]
  readonly durable_objects: { readonly bindings: { name: string; class_name: string }[] }
}

/** A Worker's options, all but its code, as wrangler.jsonc has them. */
export function deployedOptions(): Partial<MiniflareOptions> {
  const text = readFileSync(new URL('../../wrangler.jsonc', import.meta.url), 'utf8')
  const plain = text.replaceAll(/^\s*\/\/.*$/gm, '').replaceAll(/,(\s*[}\]])/g, '$1')
  const config = JSON.parse(plain) as WranglerConfig
  const objects = config.durable_objects.bindings.map(({ name, class_name: className }) => [
    name,
    { className, useSQLite: true },
  ])
  return {
    compatibilityDate: config.compatibility_date,
    compatibilityFlags: config.compatibility_flags,
    durableObjects: Object.fromEntries(objects),
  } as Partial<MiniflareOptions>
}

export interface RunningWorker extends AsyncDisposable {
  readonly url: URL
  readonly miniflare: Miniflare
}

/**
 * Starts the files of a Worker, with nothing from the network. Its storage is gone with it, unless
 * `options` say where it is.
 */
export async function startWorker(
  files: WorkerFiles,
  options: Partial<MiniflareOptions> = {},
): Promise<RunningWorker> {
  const miniflare = new Miniflare({
    ...deployedOptions(),
    modules: Array.from(files, ([path, contents]) => moduleOf(path, contents)).toSorted(mainFirst),
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
