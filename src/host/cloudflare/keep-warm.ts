/**
 * Keeps the hottest tenants in memory: the platform puts away what nobody asks, and a scheduled
 * event every minute (wrangler.jsonc) is somebody who asks.
 *
 * Which are the hottest is measured where requests come in. Isolates are many, so each counts for
 * itself and tells the directory now and then, which keeps a score of each tenant that halves with
 * time (`src/router/hot-tenants.ts`). What an isolate had counted when it ended is lost, which
 * makes somebody a little less hot.
 */
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { workerClock } from './clock.ts'
import { consoleLog } from './console-log.ts'
import { DIRECTORY_NAME, type Environment } from './environment.ts'

type Counts = [name: string, count: number][]
type Directory = DurableObjectStub<import('./directory-object.ts').DirectoryObject>

/** What this isolate has counted and not told. */
const counted = new Map<string, number>()
let toldMs = Number.NEGATIVE_INFINITY

/**
 * Somebody has asked for a tenant.
 * @param waitUntil as of the platform; called when it is time to tell
 */
export function noteRequest(
  environment: Environment,
  name: string,
  waitUntil: (work: Promise<unknown>) => void,
): void {
  if (keptWarmMax(environment) === 0) return
  if (counted.size < LIMITS.hotCountedMax || counted.has(name)) {
    counted.set(name, (counted.get(name) ?? 0) + 1)
  }
  const nowMs = workerClock.monotonicMs()
  if (nowMs - toldMs < LIMITS.hotReportMs) return
  toldMs = nowMs
  waitUntil(
    tell(environment).catch((error: unknown) => {
      consoleLog.warn('nobody hears which tenants are hot', { error })
    }),
  )
}

/** How a tenant is kept warm; TENANT_UNKNOWN says that there is none. */
export type Warm = (name: string) => Promise<unknown>

/** What a run has done. */
export interface WarmReport {
  readonly warmed: readonly string[]
  readonly failed: readonly string[]
}

/**
 * Warms the hottest tenants. What fails is logged, and keeps no other from being warmed.
 *
 * One after the other, the hottest last: where there is no room for all of them, whoever comes last
 * is the one that stays. All at once would leave it to chance.
 */
export async function warmHottest(environment: Environment, warm: Warm): Promise<WarmReport> {
  const max = keptWarmMax(environment)
  const warmed: string[] = []
  const failed: string[] = []
  if (max === 0) return { warmed, failed }
  await tell(environment)
  const directory = directoryOf(environment)
  const hottest = await directory.hottest(max)
  const warmOne = async (name: string): Promise<void> => {
    try {
      await warm(name)
      warmed.push(name)
    } catch (error) {
      failed.push(name)
      if (error instanceof PgnapError && error.code === 'TENANT_UNKNOWN') {
        return directory.forgetHeat(name)
      }
      consoleLog.warn('a tenant could not be kept warm', { tenant: name, error })
    }
  }
  for (const { name } of hottest.toReversed()) await inTime(warmOne(name))
  consoleLog.info('kept warm', { warmed: warmed.length, failed: failed.length })
  return { warmed, failed }
}

/** Whoever takes too long goes on, and nobody waits for it. */
async function inTime(work: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = workerClock.setTimer(LIMITS.keepWarmEachMs, resolve)
  await Promise.race([work, promise])
  timer.cancel()
}

/** @throws PgnapError CONFIG_INVALID */
export function keptWarmMax({ PGNAP_KEEP_WARM_TENANTS: text }: Environment): number {
  if (text === undefined) return LIMITS.keptWarmDefault
  const count = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN
  if (count <= LIMITS.keptWarmMax) return count
  throw new PgnapError('CONFIG_INVALID', `PGNAP_KEEP_WARM_TENANTS is "${text}"`, {
    hint: `a number from 0, which is off, to ${LIMITS.keptWarmMax}`,
  })
}

async function tell(environment: Environment): Promise<void> {
  if (counted.size === 0) return
  const counts: Counts = [...counted]
  counted.clear()
  await directoryOf(environment).noteHeat(counts)
}

function directoryOf({ DIRECTORY }: Environment): Directory {
  return DIRECTORY.getByName(DIRECTORY_NAME)
}
