/**
 * Runs the Worker on this machine, as it would be deployed: `npm run dev:cloudflare`. Data stay in
 * `pgnap-data/cloudflare`. Ends with Ctrl-C. `-- --architectures`: that of the comparison, with the
 * Workers that it calls.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ARCHITECTURES_ENTRY, bundleWorker, WORKER_ENTRY } from './cloudflare/bundle.ts'
import { engineFiles, LARGE_EXTENSIONS } from './cloudflare/engine-files.ts'
import { startArchitectures, startWorker } from './cloudflare/local.ts'

const PORT = '6480'

const say = (line: string): void => void process.stdout.write(`${line}\n`)

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: PORT },
    data: { type: 'string', default: join('pgnap-data', 'cloudflare') },
    architectures: { type: 'boolean', default: false },
  },
})
const engine = await engineFiles({ with: LARGE_EXTENSIONS, progress: (step) => say(`  ${step}`) })
const entry = values.architectures ? ARCHITECTURES_ENTRY : WORKER_ENTRY
const files = await bundleWorker({ entry, engine })
mkdirSync(values.data, { recursive: true })
const place = {
  host: '127.0.0.1',
  port: Number(values.port),
  durableObjectsPersist: values.data,
  r2Persist: join(values.data, 'r2'),
}
const { url, miniflare } = values.architectures
  ? await startArchitectures(files, {}, place)
  : await startWorker(files, place)
say(`listening on ${url.href}`)
say(`  curl ${url.href}v1/tenants/acme/query --json '{"sql": "select version()"}'`)
process.once('SIGINT', () => void miniflare.dispose())
process.once('SIGTERM', () => void miniflare.dispose())
