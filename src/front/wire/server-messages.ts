/**
 * The messages that the front itself sends to a client. Those without content are built once; the
 * rest are small and rare. What a backend answers is never rebuilt here: it passes through.
 *
 * A message of ours must never carry a stack trace, a path or another tenant's name: it holds only
 * what a PgnapError says to its user.
 */
import { messageOfFields } from '../../base/error-message.ts'
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { TransactionStatus } from '../../router/gateway.ts'
import { BodyReader } from './body-reader.ts'
import { BACKEND, FRAME_HEAD_BYTES } from './frame.ts'
import { MessageWriter } from './message-writer.ts'

const writer = new MessageWriter()

/** The one-byte answer to SSLRequest and GSSENCRequest: no. */
export const ENCRYPTION_REFUSED: Uint8Array = Uint8Array.of(0x4e)

/** The one-byte answer to SSLRequest of a server that speaks TLS: go on with your ClientHello. */
export const ENCRYPTION_ACCEPTED: Uint8Array = Uint8Array.of(0x53)

export const AUTHENTICATION_OK: Uint8Array = authentication(0)

/** Asks for the password itself. */
export const AUTHENTICATION_CLEARTEXT: Uint8Array = authentication(3)

/** The mechanisms that may be offered; the one with channel binding only inside TLS. */
export const SCRAM = 'SCRAM-SHA-256'
export const SCRAM_PLUS = 'SCRAM-SHA-256-PLUS'

export const AUTHENTICATION_SASL: Uint8Array = saslOffer([SCRAM])
/** The better one first. */
export const AUTHENTICATION_SASL_PLUS: Uint8Array = saslOffer([SCRAM_PLUS, SCRAM])

const READY: Readonly<Record<TransactionStatus, Uint8Array>> = {
  idle: readyForQueryMessage('I'),
  transaction: readyForQueryMessage('T'),
  failed: readyForQueryMessage('E'),
}

export function readyForQuery(status: TransactionStatus): Uint8Array {
  return READY[status]
}

/** AuthenticationSASLContinue. */
export function saslContinue(data: string): Uint8Array {
  return sasl(11, data)
}

/** AuthenticationSASLFinal. */
export function saslFinal(data: string): Uint8Array {
  return sasl(12, data)
}

export function parameterStatus(name: string, value: string): Uint8Array {
  return writer.reset().begin(BACKEND.parameterStatus).string(name).string(value).end().copy()
}

/** Says again what never changes: a client may hear it at any time, and it means nothing. */
export const HARMLESS_REPORT: Uint8Array = parameterStatus('in_hot_standby', 'off')

export function backendKeyData(processId: number, secret: Uint8Array): Uint8Array {
  return writer.reset().begin(BACKEND.backendKeyData).int32(processId).bytes(secret).end().copy()
}

/** @param unknownOptions names beginning with `_pq_.` that the client asked for and will not get */
export function negotiateProtocolVersion(
  minorVersion: number,
  unknownOptions: readonly string[],
): Uint8Array {
  // Postgres sends the whole version here, not the minor one alone as its manual says.
  writer
    .reset()
    .begin(BACKEND.negotiateProtocolVersion)
    .int32((3 << 16) | minorVersion)
  writer.int32(unknownOptions.length)
  for (const name of unknownOptions) writer.string(name)
  return writer.end().copy()
}

/** @param columnCount columns that the client is told of; all have the one format */
export function copyInResponse(binary: boolean, columnCount: number): Uint8Array {
  const format = binary ? 1 : 0
  writer.reset().begin(BACKEND.copyInResponse).int8(format).int16(columnCount)
  for (let column = 0; column < columnCount; column++) writer.int16(format)
  return writer.end().copy()
}

/**
 * The backend's own ErrorResponse, whole with its head, as FATAL: for errors that end a startup.
 */
export function asFatal(message: Uint8Array): Uint8Array {
  const fields: [string, string][] = []
  const body = new BodyReader(message, FRAME_HEAD_BYTES)
  for (let field = body.int8(); field !== 0; field = body.int8()) {
    const name = String.fromCharCode(field)
    const value = body.string()
    fields.push([name, name === 'S' || name === 'V' ? 'FATAL' : value])
  }
  return messageOfFields('E', fields)
}

/** Whoever takes its answers too slowly is sent away with this. */
export function answerUnread(unreadBytes: number): PgnapError {
  return new PgnapError('ANSWER_TOO_LARGE', `${unreadBytes} bytes of answers wait to be read`, {
    hint: `read faster or ask for less: the limit answerBytesMax is ${LIMITS.answerBytesMax}`,
  })
}

export function heldTooMuch(): PgnapError {
  return new PgnapError(
    'CLIENT_MEMORY_EXHAUSTED',
    'the clients of this server make it hold more than it may, and those of this tenant most',
    { hint: 'send less before its end, read answers as they come, or raise --client-memory' },
  )
}

function authentication(kind: number): Uint8Array {
  return writer.reset().begin(BACKEND.authentication).int32(kind).end().copy()
}

function saslOffer(mechanisms: readonly string[]): Uint8Array {
  writer.reset().begin(BACKEND.authentication).int32(10)
  for (const mechanism of mechanisms) writer.string(mechanism)
  return writer.int8(0).end().copy()
}

function sasl(kind: number, data: string): Uint8Array {
  return writer.reset().begin(BACKEND.authentication).int32(kind).text(data).end().copy()
}

function readyForQueryMessage(status: string): Uint8Array {
  return writer.reset().begin(BACKEND.readyForQuery).text(status).end().copy()
}
