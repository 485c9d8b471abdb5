/**
 * Builds the Worker into `dist/cloudflare`, and that of the comparison into
 * `dist/cloudflare-architectures`, for wrangler to deploy, and tells how they stand to the limits
 * of the platform: `npm run build:cloudflare`, or with extensions that are left out because of
 * their size: `npm run build:cloudflare -- --with pgcrypto`.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { MiniflareOptions } from 'miniflare'
import {
  ARCHITECTURES_ENTRY,
  bundleWorker,
  sizeOf,
  WORKER_ENTRY,
  type WorkerFiles,
  writeWorker,
} from './cloudflare/bundle.ts'
import { engineFiles } from './cloudflare/engine-files.ts'
import { deployedOptions, startWorker } from './cloudflare/local.ts'

/** Of a paid plan; a free one allows 3 MB. Newer ones count 64 MiB uncompressed instead. */
const GZIP_BYTES_MAX = 10_000_000
const BYTES_MAX = 64 * 2 ** 20
/** To parse a Worker and to run its global scope. */
const START_MS_MAX = 1_000
const STARTS = 5

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const megabytes = (bytes: number): string => `${(bytes / 1_000_000).toFixed(2)} MB`

/** A Worker that does nothing: what workerd itself takes to start. */
const EMPTY: WorkerFiles = new Map([
  ['worker.js', Buffer.from('export default { fetch: () => new Response() }')],
])

/** From the start of workerd until it answers, the fastest of a few: others use the machine too. */
async function startMs(files: WorkerFiles, options: Partial<MiniflareOptions>): Promise<number> {
  let fastestMs = Number.POSITIVE_INFINITY
  for (let count = 0; count < STARTS; count++) {
    const fromMs = performance.now()
    await using worker = await startWorker(files, options)
    await fetch(new URL('/healthz', worker.url))
    fastestMs = Math.min(fastestMs, performance.now() - fromMs)
  }
  return fastestMs
}

/** Writes a Worker, and tells how large it is and how long it takes to start. */
async function build(files: WorkerFiles, folder: string, config: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true })
  writeWorker(files, folder)
  const { bytes, gzipBytes } = sizeOf(files)
  // Whom it calls is nobody's to start here.
  const own = { ...deployedOptions(config), serviceBindings: {} }
  const emptyMs = await startMs(EMPTY, { durableObjects: {} })
  const ownMs = Math.max(0, (await startMs(files, own as Partial<MiniflareOptions>)) - emptyMs)
  say(`${folder}: ${files.size} modules`)
  say(`  gzip   ${megabytes(gzipBytes)} of ${megabytes(GZIP_BYTES_MAX)}`)
  say(`  plain  ${megabytes(bytes)} of ${megabytes(BYTES_MAX)}`)
  say(
    `  start  ${ownMs.toFixed(0)} ms of ${START_MS_MAX} ms, above an empty Worker on this machine`,
  )
  if (gzipBytes <= GZIP_BYTES_MAX && bytes <= BYTES_MAX) return
  say('it is too large to be deployed')
  process.exitCode = 1
}

const { values } = parseArgs({ options: { with: { type: 'string', multiple: true } } })
const engine = await engineFiles({ with: values.with ?? [], progress: (step) => say(`  ${step}`) })
const worker = await bundleWorker({ entry: WORKER_ENTRY, engine })
await build(worker, join('dist', 'cloudflare'), 'wrangler.jsonc')
const comparison = await bundleWorker({ entry: ARCHITECTURES_ENTRY, engine })
await build(comparison, join('dist', 'cloudflare-architectures'), 'wrangler.architectures.jsonc')
