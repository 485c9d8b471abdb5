/**
 * The first bytes of a connection: encryption requests, cancel requests, the startup packet. Pure
 * and without memory, so that a thread which only hands connections on can read the database's name
 * from the same bytes that it then gives, unchanged, to the thread which serves the connection.
 *
 * Total over hostile bytes: the result says what they are, nothing throws, and no more than
 * LIMITS.startupPacketBytesMax is ever waited for.
 */
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { BodyReader } from './body-reader.ts'
import { copyBytes, int32At } from './frame.ts'
import { splitOptions } from './startup-options.ts'

/**
 * What the bytes at the beginning of a connection are. `byteLength`: how many of them are spent.
 */
export type StartupRequest =
  | { readonly kind: 'incomplete' }
  /** It leaves before it has begun. A server takes that for a wrong length and says nothing. */
  | { readonly kind: 'goodbye' }
  | { readonly kind: 'invalid'; readonly error: PgnapError }
  | { readonly kind: 'ssl'; readonly byteLength: number }
  | { readonly kind: 'gssenc'; readonly byteLength: number }
  | CancelRequest
  | StartupPacket

export interface CancelRequest {
  readonly kind: 'cancel'
  readonly byteLength: number
  readonly processId: number
  /** The caller's own copy. */
  readonly secret: Uint8Array
}

export interface StartupPacket {
  readonly kind: 'startup'
  readonly byteLength: number
  /** As the client asked for, not yet negotiated. */
  readonly minorVersion: number
  readonly user: string
  /** As typed; empty if there is none. Which tenant is meant, `selectTenant` says. */
  readonly database: string
  /** Of `options`: the database that a client of Neon's chooses there. */
  readonly endpoint: string | undefined
  /** Names in lower case, settings of `options` among them; without user, database, `_pq_.`. */
  readonly parameters: ReadonlyMap<string, string>
  /** Protocol options (`_pq_.`) that we do not know, as typed: all of them. */
  readonly unknownOptions: readonly string[]
}

/**
 * The newest minor version of protocol 3 that we speak. 3.2 has cancel keys of more than 4 bytes.
 */
export const MINOR_VERSION_MAX = 2

/** The first bytes of Terminate, read as the length of a startup packet. */
const TERMINATE_HEAD = 0x58_00_00_00
const MAGIC_CANCEL = 80_877_102
const MAGIC_SSL = 80_877_103
const MAGIC_GSSENC = 80_877_104
/** Postgres's bound for the secret of a cancel request (protocol 3.2). */
const SECRET_BYTES_MAX = 256

/** Reads the request at the beginning of `bytes`. Never throws. */
export function parseStartup(bytes: Uint8Array): StartupRequest {
  if (bytes.length < 4) return { kind: 'incomplete' }
  const byteLength = int32At(bytes, 0)
  if (byteLength === TERMINATE_HEAD) return { kind: 'goodbye' }
  if (byteLength < 8 || byteLength > LIMITS.startupPacketBytesMax) {
    return invalid('PROTOCOL_VIOLATION', 'invalid length of startup packet', {
      hint: 'this port speaks the Postgres protocol; for HTTP use the HTTP port',
    })
  }
  if (bytes.length < byteLength) return { kind: 'incomplete' }
  const version = int32At(bytes, 4)
  switch (version) {
    case MAGIC_SSL:
    case MAGIC_GSSENC:
      if (byteLength !== 8) return invalid('PROTOCOL_VIOLATION', 'invalid encryption request')
      return { kind: version === MAGIC_SSL ? 'ssl' : 'gssenc', byteLength }
    case MAGIC_CANCEL:
      return parseCancel(bytes, byteLength)
    default:
      if (version >>> 16 !== 3) return unsupportedVersion(version)
      return parsePacket(bytes, byteLength, version & 0xffff)
  }
}

function parseCancel(bytes: Uint8Array, byteLength: number): StartupRequest {
  const secretBytes = byteLength - 12
  if (secretBytes < 4 || secretBytes > SECRET_BYTES_MAX) {
    return invalid('PROTOCOL_VIOLATION', 'invalid length of cancel request')
  }
  const secret = copyBytes(bytes, 12, byteLength)
  return { kind: 'cancel', byteLength, processId: int32At(bytes, 8), secret }
}

function parsePacket(bytes: Uint8Array, byteLength: number, minorVersion: number): StartupRequest {
  try {
    return readPacket(bytes, byteLength, minorVersion)
  } catch (error) {
    if (error instanceof PgnapError) return { kind: 'invalid', error }
    throw error
  }
}

function readPacket(bytes: Uint8Array, byteLength: number, minorVersion: number): StartupPacket {
  const typed = new Map<string, string>()
  const unknownOptions: string[] = []
  for (const [name, value] of readPairs(bytes, byteLength)) {
    if (name.startsWith('_pq_.')) unknownOptions.push(name)
    else typed.set(name.toLowerCase(), value)
  }
  const user = typed.get('user') ?? ''
  if (user === '') {
    const text = 'no PostgreSQL user name specified in startup packet'
    throw new PgnapError('AUTHENTICATION_UNSUPPORTED', text)
  }
  refuseReplication(typed.get('replication'))
  const database = typed.get('database') ?? ''
  const { settings, endpoint } = splitOptions(typed.get('options') ?? '')
  const parameters = new Map(settings)
  // Postgres reads `options` first, so a parameter of the packet itself wins over them.
  for (const [name, value] of typed) if (!NOT_SETTINGS.has(name)) parameters.set(name, value)
  return {
    kind: 'startup',
    byteLength,
    minorVersion,
    user,
    database,
    endpoint,
    parameters,
    unknownOptions,
  }
}

/** Names and values up to the empty name, which must be the last byte. */
function readPairs(bytes: Uint8Array, byteLength: number): [name: string, value: string][] {
  const pairs: [string, string][] = []
  const reader = new BodyReader(bytes, 8, byteLength)
  // With a zero byte at the end of all, every string has an end.
  while (reader.remaining > 0 && bytes[byteLength - 1] === 0) {
    const name = reader.string()
    if (name === '' && reader.remaining === 0) return pairs
    if (name === '' || reader.remaining === 0) break
    pairs.push([name, reader.string()])
  }
  const text = 'invalid startup packet layout: expected terminator as last byte'
  throw new PgnapError('PROTOCOL_VIOLATION', text)
}

const NOT_SETTINGS: ReadonlySet<string> = new Set(['user', 'database', 'options', 'replication'])
const FALSE_WORDS: ReadonlySet<string> = new Set(['', 'false', 'off', 'no', '0', 'f', 'n'])

function refuseReplication(value: string | undefined): void {
  if (value === undefined || FALSE_WORDS.has(value.toLowerCase())) return
  throw new PgnapError('PROTOCOL_UNSUPPORTED', 'replication connections are not supported', {
    hint: "connect without the replication parameter; use pg_dump, or copy the tenant's file",
  })
}

function unsupportedVersion(version: number): StartupRequest {
  const asked = `${version >>> 16}.${version & 0xffff}`
  return invalid(
    'PROTOCOL_UNSUPPORTED',
    `unsupported frontend protocol ${asked}: server supports 3.0 to 3.${MINOR_VERSION_MAX}`,
  )
}

function invalid(...details: ConstructorParameters<typeof PgnapError>): StartupRequest {
  return { kind: 'invalid', error: new PgnapError(...details) }
}
