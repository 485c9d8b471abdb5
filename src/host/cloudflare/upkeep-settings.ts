/** After which rest the alarm of a tenant's object works, as the settings of the Worker say. */
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'

const MS_PER_S = 1_000

/** In ms; 0: never. @throws PgnapError CONFIG_INVALID */
export function upkeepAfterMs({
  PGNAP_UPKEEP_AFTER_SECONDS: text,
}: {
  readonly PGNAP_UPKEEP_AFTER_SECONDS?: string
}): number {
  if (text === undefined) return LIMITS.upkeepAlarmMs
  const ms = /^\d{1,6}$/.test(text) ? Number(text) * MS_PER_S : Number.NaN
  if (ms <= LIMITS.upkeepAlarmMaxMs) return ms
  throw new PgnapError('CONFIG_INVALID', `PGNAP_UPKEEP_AFTER_SECONDS is "${text}"`, {
    hint: `a number from 0, which is off, to ${LIMITS.upkeepAlarmMaxMs / MS_PER_S}`,
  })
}
