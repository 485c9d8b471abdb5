/**
 * The traffic of a server of many small tenants, made from one seed: few are busy and most are not
 * (Zipf), and they come in three ways:
 *
 *   office    on weekdays, from about the same time on, for some hours; in three time zones
 *   beat      a program, every quarter of an hour to every day, now and then late or not at all
 *   whim      whenever somebody thinks of it, more by day than by night: nothing can be learned
 *
 * A visit is a few requests within a minute or two.
 */
import { SeededRandom } from '../../src/base/random.ts'
import type { TenantName } from '../../src/base/ids.ts'

export interface TraceOptions {
  readonly seed: number
  readonly tenants: number
  readonly days: number
}

export interface Request {
  readonly atMs: number
  readonly tenant: TenantName
}

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
export const DAY_MS: number = 24 * HOUR_MS

/** Of all tenants; the others come by whim. */
const OFFICE_SHARE = 0.45
const BEAT_SHARE = 0.15
const ZIPF_EXPONENT = 0.9
/** Visits of a mean tenant on one day. */
const VISITS_PER_DAY = 4
/** Of an office tenant: visits on a day are many, but not without end. */
const OFFICE_VISITS_MAX = 60
const ZONES_MS = [0, 0, 0, 0, 0, 0, 0, 6 * HOUR_MS, 6 * HOUR_MS, 16 * HOUR_MS]
const PERIODS_MS = [15, 30, 60, 60, 120, 240, 720, 1440].map((minutes) => minutes * MINUTE_MS)

/** All requests in order of time. */
export function makeTrace({ seed, tenants, days }: TraceOptions): Request[] {
  const dice = new Dice(seed)
  const ranks = dice.shuffled(Array.from({ length: tenants }, (_, index) => index + 1))
  const weights = ranks.map((rank) => rank ** -ZIPF_EXPONENT)
  const whole = weights.reduce((sum, weight) => sum + weight, 0)
  const requests = weights.flatMap((weight, index) => {
    const visitsPerDay = (VISITS_PER_DAY * tenants * weight) / whole
    const tenant = `t${index}` as TenantName
    const kind = dice.chance()
    const visits =
      kind < OFFICE_SHARE
        ? officeVisits(dice, days, visitsPerDay)
        : kind < OFFICE_SHARE + BEAT_SHARE
          ? beatVisits(dice, days)
          : whimVisits(dice, days, visitsPerDay)
    return visits.flatMap((atMs) => requestsOf(dice, atMs).map((each) => ({ atMs: each, tenant })))
  })
  return requests.toSorted((a, b) => a.atMs - b.atMs)
}

function officeVisits(dice: Dice, days: number, visitsPerDay: number): number[] {
  const zoneMs = ZONES_MS[dice.below(ZONES_MS.length)] ?? 0
  const startMs = zoneMs + 9 * HOUR_MS + dice.bell() * HOUR_MS
  const lengthMs = (4 + 5 * dice.chance()) * HOUR_MS
  const more = Math.min(visitsPerDay, OFFICE_VISITS_MAX)
  const visits: number[] = []
  for (let day = 0; day < days; day++) {
    const attends = day % 7 < 5 && dice.chance() < 0.9
    if (!attends) continue
    const firstMs = day * DAY_MS + startMs + dice.bell() * 12 * MINUTE_MS
    visits.push(firstMs)
    let atMs = firstMs
    for (;;) {
      atMs += dice.pause(lengthMs / more)
      if (atMs > firstMs + lengthMs) break
      visits.push(atMs)
    }
  }
  return visits
}

function beatVisits(dice: Dice, days: number): number[] {
  const periodMs = PERIODS_MS[dice.below(PERIODS_MS.length)] ?? HOUR_MS
  const visits: number[] = []
  for (let atMs = dice.chance() * periodMs; atMs < days * DAY_MS; atMs += periodMs) {
    if (dice.chance() < 0.98) visits.push(atMs + Math.abs(dice.bell()) * 15_000)
  }
  return visits
}

function whimVisits(dice: Dice, days: number, visitsPerDay: number): number[] {
  const visits: number[] = []
  // Drawn at the rate of the busiest hour, and thinned out to that of the hour.
  for (let atMs = 0; atMs < days * DAY_MS;) {
    atMs += dice.pause(DAY_MS / (visitsPerDay * 1.8))
    const ofDay = Math.sin((2 * Math.PI * (atMs - 9 * HOUR_MS)) / DAY_MS)
    if (dice.chance() < (1 + 0.8 * ofDay) / 1.8) visits.push(atMs)
  }
  return visits
}

function requestsOf(dice: Dice, atMs: number): number[] {
  const requests = [atMs]
  for (let more = dice.below(6); more > 0; more--) {
    requests.push((requests.at(-1) ?? atMs) + dice.pause(15_000))
  }
  return requests
}

class Dice extends SeededRandom {
  /** In [0, 1). */
  chance(): number {
    return this.below(2 ** 32) / 2 ** 32
  }

  /** About the normal distribution, never beyond three deviations. */
  bell(): number {
    const sum = Array.from({ length: 12 }, () => this.chance()).reduce((a, b) => a + b, 0)
    return Math.max(-3, Math.min(3, sum - 6))
  }

  /** Between two independent events, in the mean `meanMs`. */
  pause(meanMs: number): number {
    return -Math.log(1 - this.chance()) * meanMs
  }

  shuffled<Item>(items: readonly Item[]): Item[] {
    const keyed = items.map((item) => ({ item, key: this.chance() }))
    return keyed.toSorted((a, b) => a.key - b.key).map(({ item }) => item)
  }
}
