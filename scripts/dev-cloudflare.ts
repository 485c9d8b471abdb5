/**
 * Runs the Worker on this machine, as it would be deployed: `npm run dev:cloudflare`. Data stay in
 * `pgnap-data/cloudflare`, settings come from the environment. Ends with Ctrl-C.
 * `-- --architectures`: that of the comparison, with the Workers that it calls.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ARCHITECTURES_ENTRY, bundleWorker, WORKER_ENTRY } from './cloudflare/bundle.ts'
import { engineFiles, LARGE_EXTENSIONS } from './cloudflare/engine-files.ts'
import { startArchitectures, startWorker } from './cloudflare/local.ts'

const PORT = '6480'
/** Those of the Worker; the environment may hold a server's as well. */
const SETTINGS = [
  'PGNAP_USERS',
  'PGNAP_ADMIN_TOKEN',
  'PGNAP_HOSTS',
  'PGNAP_ORIGINS',
  'PGNAP_DOMAIN',
  'PGNAP_CREATE_ON_CONNECT',
  'PGNAP_KEEP_WARM_TENANTS',
  'PGNAP_UPKEEP_AFTER_SECONDS',
]

const say = (line: string): void => void process.stdout.write(`${line}\n`)

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: PORT },
    data: { type: 'string', default: join('pgnap-data', 'cloudflare') },
    architectures: { type: 'boolean', default: false },
  },
})
const port = /^\d{1,5}$/.test(values.port) ? Number(values.port) : Number.NaN
if (!(port <= 65_535)) {
  process.stderr.write(`--port ${values.port} is no port: a number up to 65535, 0 for any\n`)
  process.exit(2)
}
const bindings: Record<string, string> = {}
for (const name of SETTINGS) {
  const value = process.env[name]
  if (value !== undefined) bindings[name] = value
}
const engine = await engineFiles({ with: LARGE_EXTENSIONS, progress: (step) => say(`  ${step}`) })
const entry = values.architectures ? ARCHITECTURES_ENTRY : WORKER_ENTRY
const files = await bundleWorker({ entry, engine })
mkdirSync(values.data, { recursive: true })
const place = {
  host: '127.0.0.1',
  port,
  durableObjectsPersist: values.data,
  r2Persist: join(values.data, 'r2'),
}
const { url, miniflare } = values.architectures
  ? await startArchitectures(files, { bindings }, place)
  : await startWorker(files, { ...place, bindings })
say(`listening on ${url.href}`)
say(`  curl ${url.href}v1/tenants/acme/query --json '{"sql": "select version()"}'`)
process.once('SIGINT', () => void miniflare.dispose())
process.once('SIGTERM', () => void miniflare.dispose())
