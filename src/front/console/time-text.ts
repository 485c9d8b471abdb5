/**
 * A time as PgBouncer writes it: `2026-11-21 08:30:00 UTC`. By hand, because a pure room has no
 * Date: the calendar is Howard Hinnant's `civil_from_days`.
 */
const DAY_MS = 86_400_000
/** Days of 400 years, after which the calendar repeats. */
const ERA_DAYS = 146_097
/** From 0000-03-01, where a year of that calendar begins, to 1970-01-01. */
const EPOCH_DAYS = 719_468

/** Null for 0, which stands for never. @param epochMs milliseconds since 1970 */
export function timeText(epochMs: number): string | null {
  if (epochMs === 0) return null
  const days = Math.floor(epochMs / DAY_MS)
  const seconds = Math.floor((epochMs - days * DAY_MS) / 1000)
  const clock = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map((part) => digits(part, 2))
  return `${dateText(days)} ${clock.join(':')} UTC`
}

function dateText(days: number): string {
  const shifted = days + EPOCH_DAYS
  const era = Math.floor(shifted / ERA_DAYS)
  const dayOfEra = shifted - era * ERA_DAYS
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / (ERA_DAYS - 1))) /
      365,
  )
  const leapDays = Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100)
  const dayOfYear = dayOfEra - 365 * yearOfEra - leapDays
  // Months are counted from March, so that the leap day is the last of its year.
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * marchMonth + 2) / 5) + 1
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  return `${digits(year, 4)}-${digits(month, 2)}-${digits(day, 2)}`
}

function digits(value: number, count: number): string {
  return String(Math.floor(value)).padStart(count, '0')
}
