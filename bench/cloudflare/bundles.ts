/** How large a Worker is, with everything or with one architecture alone. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  ARCHITECTURES_ENTRY,
  bundleWorker,
  sizeOf,
  WORKER_ENTRY,
  type WorkerSize,
} from '../../scripts/cloudflare/bundle.ts'
import type { EngineFiles } from '../../scripts/cloudflare/engine-files.ts'
import type { BundleResult } from './results.ts'

const FOLDER = fileURLToPath(new URL('../../src/host/cloudflare/architectures', import.meta.url))

/** Modules of the Worker that tenants live in; and whether another one computes for it. */
const PARTS: Readonly<
  Record<string, { readonly own: readonly string[]; readonly computes: boolean }>
> = {
  traditional: { own: ['traditional.ts', 'traditional-object.ts'], computes: false },
  hybrid: { own: ['hybrid.ts', 'hybrid-object.ts'], computes: true },
  thin: { own: ['thin.ts', 'state-object.ts'], computes: true },
  'lazy-wasm': { own: ['lazy-wasm.ts', 'lazy-object.ts'], computes: true },
  factory: { own: ['factory.ts', 'state-object.ts'], computes: true },
  consumer: { own: ['consumer.ts', 'consumer-object.ts'], computes: true },
  ws: { own: ['ws.ts', 'state-object.ts', 'router-object.ts'], computes: true },
  'warm-proxy': { own: ['warm-proxy.ts'], computes: false },
  pooled: { own: ['pooled.ts', '../tenant-object.ts'], computes: false },
  sqlite: { own: ['sqlite.ts'], computes: false },
}

const COMPUTE = ['compute-worker.ts', 'compute-object.ts', '../directory-object.ts']

export class Bundles {
  readonly #engine: EngineFiles
  #computeBytes: number | undefined

  constructor(engine: EngineFiles) {
    this.#engine = engine
  }

  /** The two Workers that are deployed. */
  async deployed(): Promise<BundleResult[]> {
    const entries = { pgnap: WORKER_ENTRY, 'pgnap-architectures': ARCHITECTURES_ENTRY }
    const results: BundleResult[] = []
    for (const [name, entry] of Object.entries(entries)) {
      const { bytes, gzipBytes } = sizeOf(await bundleWorker({ entry, engine: this.#engine }))
      results.push({ name, bytes, gzipBytes })
    }
    return results
  }

  /** Under gzip: one architecture alone, and what computes for it, if that is another Worker. */
  async of(name: string): Promise<{ readonly ownBytes: number; readonly computeBytes: number }> {
    const { own, computes } = PARTS[name] ?? { own: [], computes: false }
    const { gzipBytes: ownBytes } = await this.#sizeOf([...own, '../directory-object.ts'])
    if (!computes) return { ownBytes, computeBytes: 0 }
    this.#computeBytes ??= (await this.#sizeOf(COMPUTE)).gzipBytes
    return { ownBytes, computeBytes: this.#computeBytes }
  }

  async #sizeOf(modules: readonly string[]): Promise<WorkerSize> {
    const folder = mkdtempSync(join(tmpdir(), 'pgnap-bundle-'))
    try {
      const entry = join(folder, 'entry.ts')
      const lines = modules.map((path) => `export * from ${JSON.stringify(join(FOLDER, path))}`)
      writeFileSync(entry, lines.join('\n'))
      return sizeOf(await bundleWorker({ entry, engine: this.#engine }))
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
}
