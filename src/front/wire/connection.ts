/**
 * One client connection, from its first byte to its last: startup, authentication, greeting, and
 * then a Session that does the work. The first three happen once and are written as one straight
 * asynchronous story; the Session is on the path of every query and gets its bytes without a
 * detour.
 *
 *   startup --> password? --> connect --> settings --> greeting --> Session --> closed
 *      |           |             |            |
 *      +-- cancel  +-------------+------------+--> FATAL --> closed
 *
 * It must never connect to a tenant before the client has proven who it is, and never
 * leave a BackendClient behind: whoever got one closes it, also when the client left while it was
 * made.
 */
import { concatBytes, keptBytes } from '../../base/bytes.ts'
import type { Clock, Timer } from '../../base/clock.ts'
import { PgnapError, toPgnapError } from '../../base/errors.ts'
import type { HeldBytes, Holder } from '../../base/held-bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import { type Log, withFields } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import type { BackendClient, Gateway } from '../../router/gateway.ts'
import type { LoginLimiter } from '../../router/login-attempts.ts'
import { selectTenant } from '../../router/tenant-selection.ts'
import type { ClientFacts, Peer } from '../control.ts'
import { authenticate, authenticateInClear } from './authentication.ts'
import { CancelWish, type Wish } from './cancel-wish.ts'
import { FRAME_HEAD_BYTES, FRONTEND, copyBytes, frameEnd, int32At } from './frame.ts'
import { errorIn, greeting } from './greeting.ts'
import { Inbox } from './inbox.ts'
import type { Link, LinkReceiver } from './link.ts'
import { queryMessage } from './result.ts'
import { errorResponse } from '../../base/error-message.ts'
import { SYNC } from '../../base/protocol-message.ts'
import {
  ENCRYPTION_REFUSED,
  asFatal,
  heldTooMuch,
  negotiateProtocolVersion,
  readyForQuery,
} from './server-messages.ts'
import { Session } from './session.ts'
import { settingsSql } from './startup-options.ts'
import { MINOR_VERSION_MAX, type StartupPacket, parseStartup } from './startup.ts'
import { ToldSettings } from './told-settings.ts'

export interface WireConnectionOptions {
  readonly link: Link
  readonly gateway: Gateway
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** What clients are told, as `18.1`. */
  readonly serverVersion: string
  /**
   * A client asks to cancel what another connection runs. The host finds that connection. Default:
   * no such request comes here, because the host takes it before it makes a connection.
   */
  readonly onCancelRequest?: (processId: number, secret: Uint8Array) => void
  /** Called once when the connection is over and holds nothing any more. */
  readonly onClosed?: () => void
  /**
   * The number in BackendKeyData, in [1, 2^31). A host gives one to find the connection (and its
   * shard) again. Default: from `random`.
   */
  readonly processId?: number
  /** The cancel key of a client. Default: from `random`. */
  readonly secretFor?: (processId: number, byteLength: number) => Uint8Array
  /**
   * Makes unknown users look like known ones, see `mockVerifier`. Default: one per gateway object,
   * which a restart changes.
   */
  readonly mockSecret?: Uint8Array<ArrayBuffer>
  /** Who has to wait because of failed logins. Default: nobody. */
  readonly limiter?: LoginLimiter | undefined
  /** Whether somebody's cancel request may be on its way. Default: never. */
  readonly mayBeCanceled?: () => boolean
  /** Called once, when the client is let in: has proven who it is, if that is asked. */
  readonly onLetIn?: () => void
  /** The ends of the connection, as they are shown to an administrator. */
  readonly peer?: Peer
  /** The account of what all clients make the server hold. Default: there is none. */
  readonly held?: HeldBytes | undefined
  /** What the server calls itself: names in front of it are tenants. See `selectTenant`. */
  readonly domain?: string | undefined
}

/** Bytes of a cancel key: 4 fit protocol 3.0, Postgres 18 sends 32 in protocol 3.2. */
const SECRET_BYTES = 4
const LONG_SECRET_BYTES = 32

type State = 'startup' | 'password' | 'busy' | 'session' | 'closed'

export class WireConnection implements LinkReceiver, Holder {
  readonly #options: WireConnectionOptions
  readonly #link: Link
  readonly #inbox = new Inbox()
  readonly #timer: Timer
  readonly #processId: number
  readonly #connectedMs: number
  #secret: Uint8Array = new Uint8Array(0)
  #state: State = 'startup'
  #session: Session | undefined
  /** Undefined before the startup packet. */
  #packet: StartupPacket | undefined
  /** Whoever is being greeted, or has been. */
  #client: BackendClient | undefined
  /** Who waits for the next password message. */
  #passwordWanted: ((body: Uint8Array) => void) | undefined
  readonly #encryptionRefused = { ssl: false, gssenc: false }
  #readingPaused = false
  #clientIsDone = false
  readonly #wish: CancelWish
  /** Undefined before its greeting. */
  #told: ToldSettings | undefined
  /** What the backend has said before the greeting. */
  readonly #heard: Uint8Array[] = []

  constructor(options: WireConnectionOptions) {
    this.#options = options
    this.#link = options.link
    this.#wish = new CancelWish(options.clock, options.mayBeCanceled)
    this.#processId = options.processId ?? 1 + options.random.below(2 ** 31 - 1)
    this.#connectedMs = options.clock.nowMs()
    this.#timer = options.clock.setTimer(LIMITS.authenticationMs, () => this.#timedOut())
  }

  /** What the client knows as the process id of its backend. */
  get processId(): number {
    return this.#processId
  }

  /** The key that a cancel request for this connection must carry; empty before the greeting. */
  get secret(): Uint8Array {
    return this.#secret
  }

  /** Greeted, and nothing in flight. */
  get idle(): boolean {
    return this.#state === 'session' && this.#session?.busy === false
  }

  /** What an administrator is shown of this connection. */
  facts(): ClientFacts {
    // A client may have to wait in its greeting too, for its settings.
    const waitingSinceMs = (this.#session ?? this.#client)?.waitingSinceMs
    const { clock, peer } = this.#options
    const monotonicMs = clock.monotonicMs()
    const requestedMs = waitingSinceMs ?? this.#client?.ranMs
    const named = this.#packet?.parameters.get('application_name')
    return {
      database: this.#packet?.database ?? '',
      user: this.#packet?.user ?? '',
      applicationName: this.#told?.valueOf('application_name') ?? named ?? '',
      transaction: this.#client?.transactionStatus ?? 'idle',
      requestMs: requestedMs === undefined ? 0 : clock.nowMs() - (monotonicMs - requestedMs),
      state: this.#session?.state ?? (waitingSinceMs === undefined ? 'login' : 'waiting'),
      waitMs: waitingSinceMs === undefined ? 0 : monotonicMs - waitingSinceMs,
      connectedMs: this.#connectedMs,
      processId: this.#processId,
      peer,
    }
  }

  receive(bytes: Uint8Array): void {
    if (this.#session) {
      this.#session.receive(bytes)
      return
    }
    if (this.#state === 'closed') return
    this.#inbox.append(bytes)
    this.#wish.takenBytes += bytes.length
    this.#work()
    this.#count()
  }

  /** It has sent much ahead of being let in, and others need the room. */
  giveUp(): void {
    this.#fail(heldTooMuch())
  }

  linkDrained(): void {
    this.#session?.linkDrained()
  }

  linkEnded(): void {
    this.#clientIsDone = true
    if (this.#session) this.#session.linkEnded()
    // Before the greeting only a client that is being let in has something to wait for.
    else if (this.#state !== 'busy') this.#link.end()
  }

  linkClosed(): void {
    this.#session?.linkClosed()
    this.#closed()
  }

  /** Ends the connection with a FATAL `error`, after the batch in flight if there is one. */
  shutdown(error: PgnapError): void {
    if (this.#session) this.#session.shutdown(error)
    else this.#fail(error)
  }

  /** Ends what this client waits for. Called for a cancel request whose key was right. */
  cancel(): void {
    this.#session?.cancel()
  }

  /**
   * Ends what this client waits for, now or when it is read, if it was sent before the wish.
   * Settles when there is nothing left that the wish could be about.
   */
  cancelFor(wish: Wish): Promise<void> {
    if (!this.#session || this.#isClosed()) return Promise.resolve()
    const over = this.#wish.make(wish)
    this.#session.cancelForWish()
    return over
  }

  /** Which of the client's batches was begun last, and what has become of its wishes. */
  get wish(): Pick<CancelWish, 'begunByte' | 'spentWish' | 'fulfilled'> {
    return this.#wish
  }

  /** Goes on with the bytes at hand, until a whole message or an answer of somebody is missing. */
  #work(): void {
    while (this.#inbox.length > 0) {
      if (this.#state === 'startup' && this.#readStartup()) continue
      if (this.#state === 'password' && this.#readPassword()) continue
      break
    }
    if (this.#state === 'busy' && this.#inbox.length > LIMITS.startupPacketBytesMax) {
      this.#pause(true)
    }
  }

  /** From its greeting on, its session does so. */
  #count(): void {
    if (this.#session || this.#isClosed()) return
    const { heldBytes } = this.#inbox
    if (heldBytes > LIMITS.heldUncountedBytes)
      this.#options.held?.set(this, heldBytes, this.#tenant)
  }

  /** For the account of what its clients hold; undefined while it has named none. */
  get #tenant(): string | undefined {
    return this.#packet?.database.split('@', 1)[0]
  }

  /** True if a request was taken from the inbox. */
  #readStartup(): boolean {
    const request = parseStartup(this.#inbox.view())
    switch (request.kind) {
      case 'incomplete':
        return false
      case 'goodbye':
        this.#link.end()
        this.#closed()
        return false
      case 'invalid':
        this.#fail(request.error)
        return false
      case 'ssl':
      case 'gssenc':
        this.#inbox.consume(request.byteLength)
        return this.#refuseEncryption(request.kind)
      case 'cancel':
        // As in Postgres no answer says whether the key was right.
        this.#options.onCancelRequest?.(request.processId, request.secret)
        this.#link.end()
        this.#closed()
        return false
      case 'startup':
        this.#inbox.consume(request.byteLength)
        this.#state = 'busy'
        this.#start(request)
        return true
    }
  }

  #start(request: StartupPacket): void {
    const { domain, peer } = this.#options
    try {
      const selectors = { ...request, serverName: peer?.serverName }
      const { user, database } = selectTenant(selectors, domain)
      const packet = { ...request, user, database }
      this.#packet = packet
      this.#begin(packet).catch((error: unknown) => this.#fail(toPgnapError(error)))
    } catch (error) {
      this.#fail(toPgnapError(error))
    }
  }

  #refuseEncryption(kind: 'ssl' | 'gssenc'): boolean {
    if (this.#encryptionRefused[kind]) {
      this.#fail(new PgnapError('PROTOCOL_VIOLATION', 'encryption was refused already'))
      return false
    }
    this.#encryptionRefused[kind] = true
    this.#link.write(ENCRYPTION_REFUSED)
    return true
  }

  /** True if a password message was taken from the inbox. */
  #readPassword(): boolean {
    const bytes = this.#inbox.view()
    if (bytes.length < FRAME_HEAD_BYTES) return false
    const length = int32At(bytes, 1)
    if (bytes[0] === FRONTEND.terminate) {
      this.#link.end()
      this.#closed()
      return false
    }
    if (bytes[0] !== FRONTEND.password || length < 4 || length > LIMITS.startupPacketBytesMax) {
      this.#fail(new PgnapError('PROTOCOL_VIOLATION', 'expected a password message'))
      return false
    }
    const end = frameEnd(bytes, 0, bytes.length)
    if (end < 0) return false
    const body = copyBytes(bytes, FRAME_HEAD_BYTES, end)
    this.#inbox.consume(end)
    this.#state = 'busy'
    this.#passwordWanted?.(body)
    return true
  }

  #nextPassword(message: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve) => {
      if (this.#state === 'closed') return
      this.#passwordWanted = resolve
      this.#state = 'password'
      this.#link.write(message)
      this.#pause(false)
      this.#work()
      // Who had ended its side meanwhile has no password to say.
      if (this.#state === 'password' && this.#clientIsDone) this.#link.end()
    })
  }

  async #begin(packet: StartupPacket): Promise<void> {
    const { gateway } = this.#options
    const minorVersion = Math.min(packet.minorVersion, MINOR_VERSION_MAX)
    if (packet.minorVersion > minorVersion || packet.unknownOptions.length > 0) {
      this.#link.write(negotiateProtocolVersion(minorVersion, packet.unknownOptions))
    }
    const secretBytes = minorVersion >= 2 ? LONG_SECRET_BYTES : SECRET_BYTES
    const { random, secretFor = () => random.bytes(secretBytes) } = this.#options
    this.#secret = secretFor(this.#processId, secretBytes)
    const ask = (message: Uint8Array): Promise<Uint8Array> => this.#nextPassword(message)
    if (this.#options.peer?.webSocket === true) {
      await authenticateInClear(packet, this.#options, ask)
    } else if (gateway.authentication === 'scram') {
      await authenticate(packet, this.#options, ask)
    }
    if (this.#isClosed()) return
    this.#timer.cancel()
    this.#options.onLetIn?.()
    const client = await gateway.connect({
      tenant: packet.database,
      user: packet.user,
      applicationName: packet.parameters.get('application_name') ?? '',
      processId: this.#processId,
      events: {
        messages: (bytes) => this.#hear(bytes),
        cancel: () => this.cancel(),
        keeps: (bytes) => this.#session?.keeps(bytes),
        lost: (error) => (this.#session ? this.#session.end(error) : this.#fail(error)),
      },
    })
    this.#client = client
    try {
      await this.#greet(client, packet)
    } catch (error) {
      client.close()
      throw error
    }
    if (this.#session === undefined) client.close()
  }

  /** Leaves no session if the connection has ended meanwhile. */
  async #greet(client: BackendClient, packet: StartupPacket): Promise<void> {
    if (this.#isClosed()) return
    const sql = settingsSql(packet.parameters)
    const begin = (settings: Uint8Array): ReturnType<BackendClient['run']> =>
      client.begin ? client.begin(settings) : client.run(settings, true)
    let settingsAnswer: Uint8Array = new Uint8Array(0)
    if (sql !== '') settingsAnswer = await keptBytes(begin(queryMessage(sql)))
    else if (client.mayHaveStoredSettings) settingsAnswer = await keptBytes(begin(SYNC))
    if (this.#isClosed()) return
    const error = errorIn(settingsAnswer)
    if (error) {
      this.#link.end(asFatal(error))
      this.#closed()
      return
    }
    const messages = greeting({
      serverVersion: this.#options.serverVersion,
      applicationName: packet.parameters.get('application_name') ?? '',
      processId: this.#processId,
      secret: this.#secret,
      settingsAnswer: concatBytes([...this.#heard.splice(0), settingsAnswer]),
    })
    const whole = concatBytes([...messages, readyForQuery(client.transactionStatus)])
    const told = (this.#told = new ToldSettings())
    told.tell(whole)
    this.#link.write(whole)
    this.#startSession(client, told)
  }

  /** Before it is greeted, these are settings of its database, which the greeting has in it. */
  #hear(messages: Uint8Array): void {
    if (this.#session) this.#session.deliver(messages)
    else this.#heard.push(copyBytes(messages))
  }

  #startSession(client: BackendClient, told: ToldSettings): void {
    if (this.#isClosed()) return
    const { link, clock, log, held } = this.#options
    const onClosed = (): void => this.#closed()
    const wish = this.#wish
    held?.delete(this)
    const tenant = this.#tenant
    const ownLog = withFields(log, { tenant })
    const common = { link, client, clock, wish, told, held, tenant, onClosed }
    const session = new Session({ ...common, log: ownLog })
    this.#session = session
    this.#state = 'session'
    const early = copyBytes(this.#inbox.view())
    wish.takenBytes -= early.length
    this.#inbox.clear()
    this.#pause(false)
    if (early.length > 0) session.receive(early)
    if (this.#clientIsDone) session.linkEnded()
  }

  #isClosed(): boolean {
    return this.#state === 'closed'
  }

  #pause(pause: boolean): void {
    if (pause === this.#readingPaused) return
    this.#readingPaused = pause
    if (pause) this.#link.pauseReading()
    else this.#link.resumeReading()
  }

  #timedOut(): void {
    this.#fail(
      new PgnapError('AUTHENTICATION_TIMEOUT', 'canceling authentication due to timeout', {
        hint: `finish startup and password within ${LIMITS.authenticationMs} ms`,
      }),
    )
  }

  #fail(error: PgnapError): void {
    if (this.#isClosed()) return
    const tenant = this.#tenant
    if (error.kind === 'report') this.#options.log.error(error.message, { tenant, error })
    this.#link.end(errorResponse(error, 'FATAL'))
    this.#closed()
  }

  #closed(): void {
    if (this.#isClosed()) return
    this.#state = 'closed'
    this.#timer.cancel()
    this.#inbox.clear()
    this.#options.held?.delete(this)
    this.#options.onClosed?.()
  }
}
