/**
 * What a client hears between its password and its first ReadyForQuery: settings as the backend has
 * them, and the key for its cancel requests.
 *
 * The settings are constants of our one kind of backend, so that a greeting does not have to ask
 * for them; what the client's own startup parameters have changed, the backend has reported, and
 * its reports go over the constants.
 */
import { BodyReader } from './body-reader.ts'
import { BACKEND, FRAME_HEAD_BYTES, copyBytes, findFrame, frameEnd } from './frame.ts'
import { AUTHENTICATION_OK, backendKeyData, parameterStatus } from './server-messages.ts'

/**
 * Settings that Postgres 18 reports, with the values of a backend that nobody has changed.
 * server_version and application_name are not here: they differ.
 */
export const REPORTED_SETTINGS: Readonly<Record<string, string>> = {
  server_encoding: 'UTF8',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
  is_superuser: 'on',
  session_authorization: 'postgres',
  in_hot_standby: 'off',
  default_transaction_read_only: 'off',
  scram_iterations: '4096',
  search_path: '"$user", public',
}

export interface GreetingOptions {
  /** As `SHOW server_version` tells it. */
  readonly serverVersion: string
  readonly applicationName: string
  readonly processId: number
  /** 4 bytes in protocol 3.0, up to 256 in 3.2. */
  readonly secret: Uint8Array
  /** The backend's answer to the client's startup parameters; empty if it had none. */
  readonly settingsAnswer: Uint8Array
}

/** The greeting in order, without ReadyForQuery. */
export function greeting(options: GreetingOptions): Uint8Array[] {
  const common = [
    ['server_version', options.serverVersion],
    ...Object.entries(REPORTED_SETTINGS),
    ['application_name', options.applicationName],
  ] as const
  const settings = new Map<string, Uint8Array>([
    ...common.map(([name = '', value = '']) => [name, parameterStatus(name, value)] as const),
    ...reportedIn(options.settingsAnswer),
  ])
  return [
    AUTHENTICATION_OK,
    ...settings.values(),
    backendKeyData(options.processId, options.secret),
  ]
}

/** The ErrorResponse in a backend's answer, whole with its head, or undefined. */
export function errorIn(answer: Uint8Array): Uint8Array | undefined {
  const at = findFrame(answer, BACKEND.errorResponse)
  return at < 0 ? undefined : copyBytes(answer, at, frameEnd(answer, at, answer.length))
}

/** Each ParameterStatus in a backend's answer, as it is, with its name. */
function reportedIn(answer: Uint8Array): [string, Uint8Array][] {
  const reported: [string, Uint8Array][] = []
  let at = 0
  for (;;) {
    const next = frameEnd(answer, at, answer.length)
    if (next < 0) return reported
    if (answer[at] === BACKEND.parameterStatus) {
      const body = new BodyReader(answer, at + FRAME_HEAD_BYTES, next)
      reported.push([body.string(), copyBytes(answer, at, next)])
    }
    at = next
  }
}
