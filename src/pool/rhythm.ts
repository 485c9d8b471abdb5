/**
 * When a tenant is used, learned from the times at which it was asked for while it was at rest, and
 * when it is therefore expected next. Two habits are looked for, because servers see both:
 *
 *   the beat   a program that comes every so often: mean and deviation of the time between visits
 *   the day    people: for each half hour of the day, the share of days with a visit in it, of the
 *          days on which there was any; and which days of the week those are
 *
 * It holds 103 bytes and a few numbers per tenant and never grows. Times are of the wall, since
 * people go by it; a clock that was set back costs what was learned of the beat and nothing else.
 * Days are those of UTC: a habit does not care where its day begins. The pool's policy
 * (`keep-warm-policy.ts`) decides what to do about an expectation.
 */
const DAY_MS = 86_400_000
const BINS = 48
const BIN_MS = DAY_MS / BINS
/** Requests closer than this are one visit: what it wakes is still in memory. */
const VISIT_GAP_MS = 60_000
/** Somebody is expected this long before the first moment at which he may come. */
const LEAD_MS = 60_000
/** Weight of the newest interval of a beat. */
const BEAT_SHARE = 0.25
const BEAT_VISITS_MIN = 3
/** A beat whose intervals deviate more than this share of their mean is none. */
const BEAT_DEVIATION_MAX = 0.05
/** A deviation is a mean of absolutes: thrice that is where nearly all of a bell lies. */
const BEAT_SLACK = 3
/** Beats that may fail to come before nothing more is expected. */
const BEATS_MISSED_MAX = 3
const BEAT_CHANCE = 0.9
/** What is left of it with each beat that failed to come. */
const BEAT_FADES = 0.7
/** Weight of the newest of the days on which a tenant came at all: a fortnight is remembered. */
const DAY_SHARE = 0.15
/** Weight of the newest of the days with one name, such as Sundays. */
const WEEK_SHARE = 0.4
const WEEKDAYS = 7
const WEEK = 2 * BINS
/** Who has stayed away for so long has no habit any more. */
const AWAY_DAYS_MAX = 28
const CHANCE_UNIT = 255

/** Somebody will probably come. */
export interface Expectation {
  /** Of a visit between now and `untilMs`, from 0 to 1. */
  readonly chance: number
  /** The time of the wall after which it was wrong. */
  readonly untilMs: number
}

export class Rhythm {
  /** Begin of the last visit, and its last request. */
  #visitMs: number
  #lastMs: number
  #intervals = 0
  #meanMs = 0
  #deviationMs = 0
  /** Of the last visit, since 1970; and how many days with visits there have been. */
  #day: number
  #daysWithVisits = 0
  /**
   * For each half hour its chance in 255ths, and then `#daysWithVisits` at its last visit; from
   * WEEK on, for each day of the week the chance that there is a visit at all. One array, because
   * an array costs more than what is in it, for each of ten thousand tenants.
   */
  readonly #learned = new Uint8Array(WEEK + WEEKDAYS).fill(CHANCE_UNIT, WEEK)

  /** A tenant that was met for the first time. */
  constructor(nowMs: number) {
    this.#visitMs = this.#lastMs = nowMs
    this.#day = Math.floor(nowMs / DAY_MS) - 1
    this.#noteDay(nowMs)
  }

  /** It was asked for while it was at rest. */
  visited(nowMs: number): void {
    const gapMs = nowMs - this.#lastMs
    this.#lastMs = nowMs
    this.#noteDay(nowMs)
    if (gapMs < 0) this.#intervals = 0
    else if (gapMs < VISIT_GAP_MS) return
    else this.#noteInterval(nowMs - this.#visitMs)
    this.#visitMs = nowMs
  }

  /** Whether somebody is expected soon. A beat is the better habit: it is over sooner. */
  expects(nowMs: number): Expectation | undefined {
    return this.#isBeat() ? this.#expectsBeat(nowMs) : this.#expectsDay(nowMs)
  }

  #noteInterval(intervalMs: number): void {
    if (this.#intervals++ === 0) {
      this.#meanMs = intervalMs
      this.#deviationMs = 0
      return
    }
    // A beat that failed to come is not a slower one.
    const beats = Math.round(intervalMs / this.#meanMs)
    const missed = this.#isBeat() && beats > 1 && beats <= BEATS_MISSED_MAX
    const oneMs = missed ? intervalMs / beats : intervalMs
    const offMs = oneMs - this.#meanMs
    this.#meanMs += BEAT_SHARE * offMs
    this.#deviationMs += BEAT_SHARE * (Math.abs(offMs) - this.#deviationMs)
  }

  #isBeat(): boolean {
    const steady = this.#deviationMs <= BEAT_DEVIATION_MAX * this.#meanMs
    return this.#intervals >= BEAT_VISITS_MIN && steady
  }

  #expectsBeat(nowMs: number): Expectation | undefined {
    const slackMs = Math.max(VISIT_GAP_MS, BEAT_SLACK * this.#deviationMs)
    const sinceMs = nowMs - this.#visitMs
    const beats = Math.max(1, Math.ceil((sinceMs - slackMs) / this.#meanMs))
    const atMs = this.#visitMs + beats * this.#meanMs
    if (beats > BEATS_MISSED_MAX || nowMs < atMs - slackMs - LEAD_MS) return undefined
    return { chance: BEAT_CHANCE * BEAT_FADES ** (beats - 1), untilMs: atMs + slackMs }
  }

  #noteDay(nowMs: number): void {
    const bin = Math.floor(nowMs / BIN_MS)
    const day = Math.floor(bin / BINS)
    if (day !== this.#day) this.#beginDay(day)
    const at = bin % BINS
    const days = this.#daysSince(at)
    const known = this.#learned[at] ?? 0
    // More than one request of a day says no more than one.
    if (known > 0 && days === 0) return
    const faded = known * (1 - DAY_SHARE) ** Math.max(0, days - 1)
    this.#learned[at] = Math.round(faded + DAY_SHARE * (CHANCE_UNIT - faded))
    this.#learned[BINS + at] = this.#daysWithVisits % 256
  }

  #beginDay(day: number): void {
    for (let away = Math.max(this.#day + 1, day - AWAY_DAYS_MAX); away < day; away++) {
      this.#learned[WEEK + (away % WEEKDAYS)] =
        (this.#learned[WEEK + (away % WEEKDAYS)] ?? 0) * (1 - WEEK_SHARE)
    }
    const known = this.#learned[WEEK + (day % WEEKDAYS)] ?? 0
    this.#learned[WEEK + (day % WEEKDAYS)] = Math.round(known + WEEK_SHARE * (CHANCE_UNIT - known))
    this.#day = day
    this.#daysWithVisits++
  }

  /** In the coming half hour or the one after it, so that a habit may waver between two. */
  #expectsDay(nowMs: number): Expectation {
    const bin = Math.floor((nowMs + LEAD_MS) / BIN_MS)
    const chance = 1 - (1 - this.#chanceIn(bin)) * (1 - this.#chanceIn(bin + 1))
    return { chance, untilMs: (bin + 2) * BIN_MS }
  }

  /** Of a first visit in a bin. A visit that was made already says nothing about another one. */
  #chanceIn(bin: number): number {
    const at = bin % BINS
    const known = (this.#learned[at] ?? 0) / CHANCE_UNIT
    if (known === 0) return 0
    const day = Math.floor(bin / BINS)
    const days = this.#daysSince(at)
    if (day <= this.#day) return days === 0 ? 0 : known * (1 - DAY_SHARE) ** (days - 1)
    const awayDays = day - this.#day
    if (awayDays > AWAY_DAYS_MAX) return 0
    const ofWeek = (this.#learned[WEEK + (day % WEEKDAYS)] ?? 0) / CHANCE_UNIT
    const weeksAway = Math.floor((awayDays - 1) / WEEKDAYS)
    return known * (1 - DAY_SHARE) ** days * ofWeek * (1 - WEEK_SHARE) ** weeksAway
  }

  /** Days with visits since the last visit in a bin; today's, if there was one, included. */
  #daysSince(at: number): number {
    return (this.#daysWithVisits - (this.#learned[BINS + at] ?? 0) + 256) % 256
  }
}
