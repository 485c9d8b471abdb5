/**
 * pgnap as a Worker: the program that `npm run build:cloudflare` bundles, and that `wrangler.jsonc`
 * deploys.
 */
import { createWorker } from './host/cloudflare/worker.ts'
import type { Environment } from './host/cloudflare/environment.ts'
import { version } from 'pgnap:version'

export { DirectoryObject } from './host/cloudflare/directory-object.ts'
export { TenantObject } from './host/cloudflare/tenant-object.ts'

const worker: ExportedHandler<Environment> = createWorker(version)
export default worker
