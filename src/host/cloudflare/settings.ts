/**
 * Settings of a Worker that cannot be meant. They are looked at before the first request gets any
 * further, so that a mistake is seen then, and not once a minute or after something was written.
 */
import { PgnapError } from '../../base/errors.ts'
import { errorAnswer } from '../../front/http/answers.ts'
import { consoleLog } from './console-log.ts'
import type { Environment } from './environment.ts'
import { keptWarmMax } from './keep-warm.ts'
import { upkeepAfterMs } from './upkeep-settings.ts'

/** @throws PgnapError CONFIG_INVALID. Users, tokens and hosts are the guard's to read */
export function checkSettings(environment: Environment): void {
  keptWarmMax(environment)
  upkeepAfterMs(environment)
  createsOnConnect(environment)
}

/** Whether tenants are made by being asked something. @throws PgnapError CONFIG_INVALID */
export function createsOnConnect({ PGNAP_CREATE_ON_CONNECT: text }: Environment): boolean {
  if (text === undefined || ['true', 'on', '1'].includes(text)) return true
  if (['false', 'off', '0'].includes(text)) return false
  throw new PgnapError('CONFIG_INVALID', `PGNAP_CREATE_ON_CONNECT is "${text}"`, {
    hint: 'true or false, as on Node',
  })
}

/** What everybody is told until the operator has mended it: nothing but what is wrong. */
export function misconfigured(error: unknown): Response {
  consoleLog.error('the settings of this Worker cannot be used', { error })
  // Whoever asks has done nothing wrong.
  return Response.json(errorAnswer(error).body, { status: 500 })
}
