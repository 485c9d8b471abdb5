/**
 * The scheduled event of the comparison: what other Workers have that everybody needs is kept there
 * (the slot of the compute Worker, the factory), and the hottest tenants of each architecture are
 * asked something (seed 003, "Enhanced Keep-Warm Strategy"; `../keep-warm.ts`).
 */
import { Phases } from '../../../base/phases.ts'
import { parseTenantName, unknownTenant } from '../../../router/tenant-name.ts'
import { workerClock } from '../clock.ts'
import { consoleLog } from '../console-log.ts'
import { noteRequest, warmHottest, type WarmReport } from '../keep-warm.ts'
import { heard } from '../outcome.ts'
import type { Ask } from './architecture.ts'
import type { ArchitecturesEnvironment } from './environment.ts'
import { ARCHITECTURES } from './routes.ts'

/** Tenants of `/pooled` are the default Worker's, and have their plain name. */
const SEPARATOR = '/'

/** A tenant of an architecture is asked for; see `../keep-warm.ts`. */
export function noteAsked(name: string, { environment, tenant, waitUntil }: Ask): void {
  // Objects of the default Worker count for themselves.
  if (name === 'pooled' || !ARCHITECTURES[name]?.exists) return
  noteRequest(environment, `${name}${SEPARATOR}${tenant}`, waitUntil)
}

/** One run of it. */
export async function keepArchitecturesWarm(
  environment: ArchitecturesEnvironment,
): Promise<WarmReport> {
  const { COMPUTE, FACTORY } = environment
  const pings = {
    compute: async () => void (await heard(COMPUTE.keepWarm())),
    factory: async () => void (await heard(FACTORY.warmUp())),
  }
  for (const [name, ping] of Object.entries(pings)) {
    // One that is not there keeps nobody else from being warmed.
    await ping().catch((error: unknown) => {
      consoleLog.warn('a Worker could not be kept warm', { name, error })
    })
  }
  return warmHottest(environment, (name) => warm(environment, name))
}

async function warm(environment: ArchitecturesEnvironment, name: string): Promise<void> {
  const [architecture = '', tenant] = name.split(SEPARATOR)
  if (tenant === undefined) {
    await heard(environment.TENANTS.getByName(name).wake(name))
    return
  }
  const { query, exists } = ARCHITECTURES[architecture] ?? {}
  const of = { environment, tenant: parseTenantName(tenant) }
  // To ask for it would make it. Whoever is told forgets how hot it was.
  if (!query || !(await exists?.(of))) throw unknownTenant(of.tenant)
  await query({
    ...of,
    waitUntil: (work) => void work.catch(() => {}),
    url: new URL('https://keep-warm.invalid/'),
    phases: new Phases(workerClock),
    statement: async () => ({ sql: 'select 1', parameters: [] }),
    values: async () => [],
  })
}
