/** What a session of one client needs. */
import type { Clock } from '../../base/clock.ts'
import type { HeldBytes } from '../../base/held-bytes.ts'
import type { Log } from '../../base/log.ts'
import type { BackendClient } from '../../router/gateway.ts'
import type { CancelWish } from './cancel-wish.ts'
import type { Link } from './link.ts'
import type { ToldSettings } from './told-settings.ts'

export interface SessionOptions {
  readonly link: Link
  readonly client: BackendClient
  readonly clock: Pick<Clock, 'setTimer' | 'monotonicMs'>
  readonly log: Log
  /** Knows what of the client's bytes has been taken up before. Default: nothing. */
  readonly wish?: CancelWish
  /** Of its settings. Default: what all clients are told. */
  readonly told?: ToldSettings
  /** The account of what all clients make the server hold. Default: there is none. */
  readonly held?: HeldBytes | undefined
  /** Whose client it is. */
  readonly tenant?: string | undefined
  /** Called once, when the session has ended and given its client up. */
  readonly onClosed: () => void
}
