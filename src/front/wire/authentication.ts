/**
 * The password part of a connection: SCRAM-SHA-256 carried in SASL messages, inside TLS bound to
 * the server's certificate if the client can, or the password in clear for clients inside of a
 * WebSocket. Everything that goes wrong is a PgnapError, and a wrong password, an unknown user and
 * an unknown tenant are one and the same.
 */
import { PgnapError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { Gateway } from '../../router/gateway.ts'
import type { LoginAttempt, LoginLimiter } from '../../router/login-attempts.ts'
import type { Verifier } from '../../router/scram-verifier.ts'
import type { Peer } from '../control.ts'
import { BodyReader } from './body-reader.ts'
import { ScramExchange, equalInConstantTime, fitsVerifier, mockVerifier } from './scram.ts'
import {
  AUTHENTICATION_CLEARTEXT,
  AUTHENTICATION_SASL,
  AUTHENTICATION_SASL_PLUS,
  SCRAM,
  SCRAM_PLUS,
  saslContinue,
  saslFinal,
} from './server-messages.ts'
import type { StartupPacket } from './startup.ts'

export interface AuthenticationOptions {
  readonly link: { write(bytes: Uint8Array): void }
  readonly gateway: Gateway
  readonly random: Random
  readonly mockSecret?: Uint8Array<ArrayBuffer>
  readonly limiter?: LoginLimiter | undefined
  readonly peer?: Pick<Peer, 'address' | 'tlsEndPoint'>
}

const MOCK_SECRET_BYTES = 32
/** One secret per gateway, so that an unknown user has the same salt on all its connections. */
const mockSecrets = new WeakMap<Gateway, Uint8Array<ArrayBuffer>>()

/**
 * Returns when the client has proven to know the password of its user, and after the server's own
 * proof was sent. Throws AUTHENTICATION_FAILED, AUTHENTICATION_UNSUPPORTED, CHANNEL_BINDING_FAILED
 * or PROTOCOL_VIOLATION.
 * @param ask sends a message and gives the body of the client's next password message
 */
export async function authenticate(
  packet: StartupPacket,
  options: AuthenticationOptions,
  ask: (message: Uint8Array) => Promise<Uint8Array>,
): Promise<void> {
  options.limiter?.check(attemptOf(packet, options))
  const verifier = await verifierFor(packet, options)
  const endPoint = options.peer?.tlsEndPoint
  const initial = new BodyReader(
    await ask(endPoint ? AUTHENTICATION_SASL_PLUS : AUTHENTICATION_SASL),
  )
  const mechanism = initial.string()
  const isChosen = endPoint !== undefined && mechanism === SCRAM_PLUS
  if (!isChosen && mechanism !== SCRAM) {
    throw new PgnapError(
      'PROTOCOL_VIOLATION',
      'client selected an invalid SASL authentication mechanism',
      { hint: 'use a client that knows SCRAM-SHA-256; SCRAM-SHA-256-PLUS wants TLS' },
    )
  }
  // Length -1 stands for no data, which SCRAM does not allow; reading it reports that.
  const clientFirst = initial.bytes(initial.int32())
  const binding = { isChosen, endPoint }
  const exchange = new ScramExchange({ verifier, random: options.random, binding })
  const clientFinal = await ask(saslContinue(exchange.first(clientFirst)))
  const serverFinal = await exchange.final(clientFinal)
  if (serverFinal === undefined) throw failed(packet, options)
  await confirm(packet, options, verifier)
  options.link.write(saslFinal(serverFinal))
}

/**
 * The same by the password in clear, for clients of a WebSocket. Neon's driver sends the password
 * and its first query right behind the startup packet, before it has heard anything: what it gets
 * must be this question, and it is not to wait for another. So it is asked under `trust` too, where
 * any answer is right.
 */
export async function authenticateInClear(
  packet: StartupPacket,
  options: AuthenticationOptions,
  ask: (message: Uint8Array) => Promise<Uint8Array>,
): Promise<void> {
  const password = new BodyReader(await ask(AUTHENTICATION_CLEARTEXT)).string()
  if (options.gateway.authentication === 'trust') return
  options.limiter?.check(attemptOf(packet, options))
  const verifier = await verifierFor(packet, options)
  if (!(await fitsVerifier(password, verifier, options.random))) throw failed(packet, options)
  await confirm(packet, options, verifier)
}

/** The client took its time to prove itself, and may have been shut out meanwhile. */
async function confirm(
  packet: StartupPacket,
  options: AuthenticationOptions,
  proven: Verifier,
): Promise<void> {
  options.limiter?.check(attemptOf(packet, options))
  const now = await options.gateway.passwordFor(packet.user, packet.database)
  if (!now || !equalInConstantTime(now.storedKey, proven.storedKey)) throw failed(packet, options)
}

function attemptOf(
  { user, database }: StartupPacket,
  { peer }: AuthenticationOptions,
): LoginAttempt {
  return { address: peer?.address ?? '', user, database }
}

function failed(packet: StartupPacket, options: AuthenticationOptions): PgnapError {
  const { user } = packet
  const attempt = attemptOf(packet, options)
  // To who has been wrong too often right and wrong sound the same: more guesses are for nothing.
  options.limiter?.check(attempt)
  options.limiter?.failed(attempt)
  return new PgnapError(
    'AUTHENTICATION_FAILED',
    `password authentication failed for user "${user}"`,
  )
}

async function verifierFor(
  packet: StartupPacket,
  options: AuthenticationOptions,
): Promise<Verifier> {
  const { gateway } = options
  // Made in either case, so that the time of an answer tells nothing.
  const mock = await mockVerifier(packet.user, options.mockSecret ?? mockSecretOf(options))
  return (await gateway.passwordFor(packet.user, packet.database)) ?? mock
}

function mockSecretOf(options: AuthenticationOptions): Uint8Array<ArrayBuffer> {
  const known = mockSecrets.get(options.gateway)
  if (known) return known
  const made = new Uint8Array(options.random.bytes(MOCK_SECRET_BYTES))
  mockSecrets.set(options.gateway, made)
  return made
}
