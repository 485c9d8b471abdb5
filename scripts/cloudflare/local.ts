/** The Worker in workerd on this machine, by Miniflare: for development and for measuring. */
import { readFileSync } from 'node:fs'
import { Miniflare, type MiniflareOptions, type SharedOptions, type WorkerOptions } from 'miniflare'
import type { WorkerFiles } from './bundle.ts'

/** Configurations of the Workers of the comparison: one program, deployed under several names. */
export const ARCHITECTURES_CONFIGS: readonly string[] = [
  'wrangler.architectures.jsonc',
  'wrangler.compute.jsonc',
  'wrangler.factory.jsonc',
]

/** What of a wrangler.jsonc is for wherever a Worker runs, so that it is said once. */
interface WranglerConfig {
  readonly name: string
  readonly compatibility_date: string
  readonly compatibility_flags: string[]
  readonly durable_objects?: {
    readonly bindings: { name: string; class_name: string; script_name?: string }[]
  }
  readonly r2_buckets?: { readonly binding: string; readonly bucket_name: string }[]
  readonly services?: {
    readonly binding: string
    readonly service: string
    readonly entrypoint?: string
  }[]
  readonly vars?: Readonly<Record<string, string>>
}

/** A Worker's options, all but its code, as its configuration has them. */
export function deployedOptions(config = 'wrangler.jsonc'): WorkerOptions {
  const text = readFileSync(new URL(`../../${config}`, import.meta.url), 'utf8')
  const plain = text.replaceAll(/^\s*\/\/.*$/gm, '').replaceAll(/,(\s*[}\]])/g, '$1')
  const worker = JSON.parse(plain) as WranglerConfig
  const objects = (worker.durable_objects?.bindings ?? []).map(
    ({ name, class_name: className, script_name: scriptName }) => [
      name,
      { className, useSQLite: true, ...(scriptName === undefined ? {} : { scriptName }) },
    ],
  )
  const buckets = (worker.r2_buckets ?? []).map(({ binding, bucket_name }) => [
    binding,
    bucket_name,
  ])
  const services = (worker.services ?? []).map(({ binding, service, entrypoint }) => [
    binding,
    { name: service, ...(entrypoint === undefined ? {} : { entrypoint }) },
  ])
  return {
    name: worker.name,
    compatibilityDate: worker.compatibility_date,
    compatibilityFlags: worker.compatibility_flags,
    durableObjects: Object.fromEntries(objects),
    r2Buckets: Object.fromEntries(buckets),
    serviceBindings: Object.fromEntries(services),
    bindings: { ...worker.vars },
  } as WorkerOptions
}

export interface RunningWorker extends AsyncDisposable {
  readonly url: URL
  readonly miniflare: Miniflare
  /**
   * One request, over a connection of its own. workerd closes a connection that has been quiet for
   * five seconds, by a clock that stands still while a request keeps its thread busy: after such a
   * request the next one on the same connection may find it closed.
   */
  fetch(path: string, init?: RequestInit): Promise<Response>
}

/**
 * Starts the files of a Worker, with nothing from the network. Its storage is gone with it, unless
 * `options` say where it is.
 */
export function startWorker(
  files: WorkerFiles,
  options: Partial<MiniflareOptions> = {},
): Promise<RunningWorker> {
  return start({ ...deployedOptions(), modules: modulesOf(files), ...options } as MiniflareOptions)
}

/**
 * Starts the Workers of the comparison, which call each other, all of them with the same files; the
 * first of {@link ARCHITECTURES_CONFIGS} is the one that is asked.
 * @param options for each of them, over its configuration. @param shared for all together
 */
export function startArchitectures(
  files: WorkerFiles,
  options: Partial<WorkerOptions> = {},
  shared: SharedOptions = {},
): Promise<RunningWorker> {
  const workers = ARCHITECTURES_CONFIGS.map((config) => {
    const deployed = deployedOptions(config)
    const bindings = { ...deployed.bindings, ...options.bindings }
    const durableObjects = { ...deployed.durableObjects, ...options.durableObjects }
    return { ...deployed, ...options, bindings, durableObjects, modules: modulesOf(files) }
  })
  return start({ ...shared, workers } as MiniflareOptions)
}

async function start(options: MiniflareOptions): Promise<RunningWorker> {
  const miniflare = new Miniflare(options)
  const url = await miniflare.ready
  return {
    url,
    miniflare,
    fetch: (path, init) => {
      const headers = new Headers(init?.headers)
      headers.set('connection', 'close')
      return fetch(new URL(path, url), { ...init, headers })
    },
    [Symbol.asyncDispose]: () => miniflare.dispose(),
  }
}

interface WorkerModule {
  readonly type: 'ESModule' | 'CompiledWasm' | 'Data'
  readonly path: string
  readonly contents: Uint8Array
}

function modulesOf(files: WorkerFiles): WorkerModule[] {
  return Array.from(files, ([path, contents]) => moduleOf(path, contents)).toSorted(mainFirst)
}

function moduleOf(path: string, contents: Uint8Array): WorkerModule {
  const type = path.endsWith('.js') ? 'ESModule' : path.endsWith('.wasm') ? 'CompiledWasm' : 'Data'
  return { type, path, contents }
}

/** Miniflare takes the first module for the program. */
function mainFirst(a: WorkerModule, b: WorkerModule): number {
  return Number(b.type === 'ESModule') - Number(a.type === 'ESModule')
}
