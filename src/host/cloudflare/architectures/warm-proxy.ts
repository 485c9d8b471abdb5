/**
 * `/warm-proxy`: Postgres in the memory of the Worker, with no object and no storage behind it
 * (seed 001). **Nothing is durable:** a tenant is there as long as this isolate is, and as long as
 * it has room for it; another isolate has another one of the same name. Each answer says so, and
 * names the memory that it came from, so that a client sees when it talks to another one.
 *
 * Tenants share the slot of the isolate by images, as everywhere. What runs is synchronous from
 * putting a tenant's memory into the slot to taking the answer out: no request waits for another.
 */
import type { TenantName } from '../../../base/ids.ts'
import { LIMITS } from '../../../base/limits.ts'
import type { LentSlot } from '../../../engine/lent-slot.ts'
import { LOADED } from '../../../pool/pool-statistics.ts'
import type { Pool } from '../../../pool/pool.ts'
import type { OpenTenant } from '../../../pool/tenant-source.ts'
import { TenantFiles } from '../../../store/tenant-files.ts'
import { Call } from '../../call.ts'
import { workerClock } from '../clock.ts'
import { theIsolate, theIsolateIfAny } from '../isolate.ts'
import { LoadWait } from '../load-wait.ts'
import { PreparedClient } from '../prepared-client.ts'
import { tenantPool } from '../tenant-pool.ts'
import type { Architecture, Ask, JsonBody, Served } from './architecture.ts'
import { delaysOf } from './isolate-delays.ts'
import { poolPhases } from './remote.ts'
import { onlyInMemory } from './strategies.ts'

export const warmProxy: Architecture = {
  what: 'Postgres in the memory of the Worker, without objects and without storage',
  durability: 'none: what is written is gone with the isolate, or when it needs room',
  query,
  // What another isolate has cannot be kept warm in this one.
  exists: async ({ tenant }) => memories.has(tenant),
  status: async ({ tenant }) => ({ tenant, ...facts() }),
  endpoints: {
    ping: { method: 'GET', what: 'whether it is there; makes the slot', answer: ping },
  },
}

/** Of one tenant, while there is something of it. */
interface Memory {
  /** Names it: another one after a loss, or in another isolate. */
  readonly id: string
  readonly sinceMs: number
  readonly pool: Pool
  lent: LentSlot | undefined
  requests: number
}

/** Least recently used first. */
const memories = new Map<TenantName, Memory>()

async function query({ tenant, url, phases, statement }: Ask): Promise<Served> {
  onlyInMemory(url)
  const asked = await statement()
  const loadWait = new LoadWait()
  phases.measureSync('engine', theIsolate)
  const { share } = theIsolate()
  const memory = memoryOf(tenant)
  await phases.measure('slot', () => loadWait.during(() => share.prepare(memory.lent)))
  const connected = memory.pool.connect(tenant)
  const client = new PreparedClient(connected, {
    share,
    lent: () => memory.lent,
    clock: workerClock,
  })
  const ended = phases.begin('run')
  try {
    const { result, timings } = await new Call(client, 0).statement(asked)
    // Nothing is saved, whatever the pool believes.
    phases.include(poolPhases({ ...timings, persistMs: 0 }))
    if (LOADED[timings.wokenFrom]) {
      delaysOf('warm-proxy').record('load', loadWait.take() + timings.wakeMs, tenant)
    }
    const { id, sinceMs } = memory
    const notes = { durable: false, memory: { id, sinceMs }, wokenFrom: timings.wokenFrom }
    return { result, servedBy: 'isolate', notes }
  } finally {
    ended()
    client.close()
  }
}

async function ping({ phases }: Ask): Promise<JsonBody> {
  phases.measureSync('engine', theIsolate)
  await phases.measure('slot', () => theIsolate().share.prepare())
  return { architecture: 'warm-proxy', status: 'ok' }
}

function facts(): JsonBody {
  const tenants = Array.from(memories, ([name, { id, sinceMs, requests }]) => ({
    name,
    id,
    sinceMs,
    requests,
  }))
  // Whoever asks how it stands does not make it.
  const isolate = theIsolateIfAny()
  const { slotBytes = 0, imageCount = 0, imageBytes = 0 } = isolate?.share ?? {}
  return {
    durable: false,
    isWarm: slotBytes > 0,
    isolate: isolate && { id: isolate.id, slotBytes, imageCount, imageBytes },
    tenants,
    syncDelay: delaysOf('warm-proxy').facts(),
  }
}

function memoryOf(tenant: TenantName): Memory {
  const known = memories.get(tenant)
  memories.delete(tenant)
  const memory = known ?? newMemory(tenant)
  memories.set(tenant, memory)
  memory.requests++
  for (const [name, oldest] of memories) {
    if (memories.size <= LIMITS.warmTenantsMax) break
    memories.delete(name)
    oldest.lent?.forget()
  }
  return memory
}

function newMemory(tenant: TenantName): Memory {
  const { share } = theIsolate()
  const memory: { lent: LentSlot | undefined } = { lent: undefined }
  const createSlot = async (): Promise<LentSlot> => {
    memory.lent = await share.lend(() => forget(tenant, id))
    return memory.lent
  }
  const id = crypto.randomUUID()
  const pool = tenantPool({ source: { open: openInMemory }, clock: workerClock, createSlot })
  const sinceMs = workerClock.nowMs()
  return Object.assign(memory, { id, sinceMs, pool, requests: 0 })
}

/** The isolate needs room for others. */
function forget(tenant: TenantName, id: string): void {
  if (memories.get(tenant)?.id === id) memories.delete(tenant)
}

function openInMemory(): OpenTenant {
  const { template } = theIsolate().engine
  const files = TenantFiles.inMemory({
    template,
    clock: workerClock,
    cacheBytesMax: LIMITS.isolatePageCacheBytesMax,
    ephemeralBytesMax: LIMITS.isolateEphemeralBytesMax,
    databaseBytesMax: LIMITS.isolateDatabaseBytesMax,
  })
  const stamp = crypto.randomUUID()
  return {
    files,
    stamp: () => stamp,
    // Opened once: what has been lost begins anew.
    pristine: true,
    tidy: () => false,
    readNotes: () => undefined,
    writeNotes: () => {},
    close: () => files.close(),
  }
}
