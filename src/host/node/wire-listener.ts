/**
 * Accepts Postgres connections in the main thread: reads just enough of the startup packet to know
 * the tenant, and hands the connection to the tenant's shard, or to the admin console. What is
 * wrong with a connection is said there, in one place; here only what cannot be handed on is
 * refused.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../../base/clock.ts'
import { PgnapError, toPgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Log } from '../../base/log.ts'
import type { Peer } from '../../front/control.ts'
import { errorResponse } from '../../base/error-message.ts'
import { ENCRYPTION_ACCEPTED, ENCRYPTION_REFUSED } from '../../front/wire/server-messages.ts'
import { parseStartup, type StartupPacket, type StartupRequest } from '../../front/wire/startup.ts'
import { CONSOLE_NAME, parseTenantAddress } from '../../router/tenant-name.ts'
import { selectTenant } from '../../router/tenant-selection.ts'
import type { AdminConsole } from './admin-console.ts'
import { explainListenError } from './listen-error.ts'
import { Newcomers } from './newcomers.ts'
import type { Visit } from '../../router/assignments.ts'
import type { TenantName } from '../../base/ids.ts'
import type { Handover } from './handover/handover.ts'
import { type Peeked, readRoute } from './handover/read-route.ts'
import { systemRandom } from './random.ts'
import { newProcessId } from './shard/process-id.ts'
import type { Newcomer } from './shard/shard.ts'
import type { ShardSet } from './shard/shard-set.ts'
import { endPointBinding } from './tls/end-point-binding.ts'
import type { WireTls } from './tls/wire-tls.ts'

export interface WireListenerOptions {
  readonly host: string
  readonly port: number
  readonly connectionsMax: number
  readonly handover: Handover
  readonly shards: ShardSet
  /** Without it the name `pgnap` is refused by a shard, as any that no tenant may have. */
  readonly adminConsole?: ConsoleDoor
  /** Without it clients that ask for TLS are told no. */
  readonly tls?: WireTls | undefined
  /** Whether clients without TLS are sent away. Their cancel requests are heard all the same. */
  readonly requireTls?: boolean
  /** What the server calls itself: names in front of it are tenants. See `selectTenant`. */
  readonly domain?: string | undefined
  readonly clock: Clock
  readonly log: Log
}

/** What leads to the admin console, loaded or not. */
type ConsoleDoor = Pick<AdminConsole, 'serve' | 'cancel'>

type Route =
  | { readonly to: 'tenant'; readonly tenant: TenantName }
  | { readonly to: 'shard'; readonly index: number }
  | { readonly to: 'console'; readonly adminConsole: ConsoleDoor }
  | {
      readonly to: 'tls'
      readonly socket: Socket
      readonly tls: WireTls
      readonly isDirect: boolean
    }

export interface Address {
  readonly host: string
  readonly port: number
}

export interface WireListener {
  readonly address: Address
  /** Serves a connection that came another way. The caller gives `stream` up. */
  readonly accept: (stream: Duplex, peer: Peer) => void
  /** Takes no more connections; those there are go on. */
  close(): void
}

/** Errors: CONFIG_INVALID if the address cannot be listened on. */
export async function listenForWire(options: WireListenerOptions): Promise<WireListener> {
  const { host, port } = options
  const newcomers = new Newcomers({
    countMax: LIMITS.startupConnectionsMax,
    countHardMax: LIMITS.startupConnectionsMax + options.connectionsMax,
    graceMs: LIMITS.loginGraceMs,
    clock: options.clock,
  })
  const waiting = new Set<Duplex>()
  const begin = (peer: Peer): Reception => ({
    options,
    peer,
    newcomers,
    waiting,
    deadlineMs: options.clock.monotonicMs() + LIMITS.authenticationMs,
  })
  const server: Server = createServer({ noDelay: true, keepAlive: true }, (socket) =>
    receive(socket, { ...begin(peerOf(socket)), clear: socket }),
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(explainListenError(error, { host, port, flag: 'port' })))
    server.listen(port, host, resolve)
  })
  const bound = server.address() as AddressInfo
  return {
    address: { host: bound.address, port: bound.port },
    accept: (stream, peer) => receive(stream, begin(peer)),
    close: () => server.close(),
  }
}

interface Reception {
  readonly options: WireListenerOptions
  /** Until then the startup packet must be there, and the handshake before it. */
  readonly deadlineMs: number
  readonly peer: Peer
  readonly newcomers: Newcomers
  /** Those whose tenant is moving. They are on no shard's books, and connections all the same. */
  readonly waiting: Set<Duplex>
  /** The connection itself, if TLS may begin on it: it is one of TCP, and speaks none yet. */
  readonly clear?: Socket
}

/** From now on `socket` is one of those of which nobody knows who they are. */
function enter(socket: Duplex, { newcomers }: Reception): () => void {
  const leave = newcomers.enter(() => socket.destroy())
  socket.once('close', leave)
  return () => {
    socket.off('close', leave)
    leave()
  }
}

function receive(socket: Duplex, reception: Reception): void {
  const leave = enter(socket, reception)
  const { options, deadlineMs, peer, waiting } = reception
  const { clock, shards, handover, connectionsMax } = options
  const timeoutMs = Math.max(0, deadlineMs - clock.monotonicMs())
  const peek = peekFor(reception)
  readRoute({ socket, clock, peek, timeoutMs }, (route, initialBytes) => {
    leave()
    if (route.to === 'tls') return encrypt(route, initialBytes, reception)
    const arrival = { socket, peer, initialBytes }
    if (route.to === 'console') {
      route.adminConsole.serve(socket, peer, initialBytes)
    } else if (handover.openCount + waiting.size >= connectionsMax) {
      refuse(socket, tooMany(connectionsMax))
    } else if (route.to === 'shard') {
      hand(arrival, route.index, options)
    } else {
      const visit = shards.enter(route.tenant, 'connection')
      if (visit instanceof Promise) wait(arrival, visit, reception)
      else handVisit(arrival, visit, options)
    }
  })
}

/** Goes on inside TLS. Of what was read before nothing is taken along but a ClientHello. */
function encrypt(
  { socket, tls, isDirect }: Route & { readonly to: 'tls' },
  initialBytes: Uint8Array,
  reception: Reception,
): void {
  const { options, deadlineMs, peer } = reception
  const leave = enter(socket, reception)
  if (!isDirect) socket.write(ENCRYPTION_ACCEPTED)
  const timeoutMs = Math.max(0, deadlineMs - options.clock.monotonicMs())
  const hello = isDirect ? { initialBytes } : {}
  tls.secure(socket, { isDirect, timeoutMs, ...hello }, (inside) => {
    leave()
    const { newcomers, waiting } = reception
    const secured = { ...peer, ...tlsFacts(inside) }
    receive(inside, { options, deadlineMs, newcomers, waiting, peer: secured })
  })
}

/** A connection whose first bytes have been read, with reading paused. */
interface Arrival {
  readonly socket: Duplex
  readonly peer: Peer
  readonly initialBytes: Uint8Array
}

function wait(arrival: Arrival, visit: Promise<Visit>, { waiting, options }: Reception): void {
  const { socket } = arrival
  const over = (): void => {
    waiting.delete(socket)
    socket.off('close', over)
  }
  waiting.add(socket)
  socket.once('close', over)
  visit.then(
    (late) => {
      over()
      handVisit(arrival, late, options)
    },
    (error: unknown) => {
      over()
      refuse(socket, toPgnapError(error))
    },
  )
}

/** As long as the connection lasts, its tenant stays where it is. */
function handVisit(arrival: Arrival, visit: Visit, options: WireListenerOptions): void {
  const { socket } = arrival
  const leave = (): void => visit[Symbol.dispose]()
  if (socket.closed) return leave()
  socket.once('close', leave)
  hand(arrival, visit.shard, options)
}

function hand(arrival: Arrival, index: number, { shards, handover }: WireListenerOptions): void {
  const { socket, peer, initialBytes } = arrival
  shards.want(index)
  let processId: number
  // Who wants to cancel names a client by it.
  do processId = newProcessId(systemRandom, index, shards.count)
  while (handover.knows(index, processId))
  const newcomer: Newcomer = { peer, processId }
  // Else the shard's thread is being replaced, and the client is told to come again.
  if (handover.hand(socket, index, newcomer, initialBytes, processId)) return
  refuse(socket, notThere())
}

function refuse(socket: Duplex, error: PgnapError): void {
  socket.end(errorResponse(error, 'FATAL'), () => socket.destroy())
}

/** Read once and kept: of a socket that has been reset nothing can be read any more. */
export function peerOf(socket: Socket): Peer {
  return {
    address: socket.remoteAddress ?? '',
    port: socket.remotePort ?? 0,
    localAddress: socket.localAddress ?? '',
    localPort: socket.localPort ?? 0,
  }
}

function tlsFacts(inside: TLSSocket): Pick<Peer, 'tls' | 'tlsEndPoint' | 'serverName'> {
  // As PgBouncer shows it, without the key exchange.
  const tls = `${inside.getProtocol() ?? ''}/${inside.getCipher().standardName}`
  // Of a server's side: false if the client has named none.
  const { servername } = inside as { readonly servername?: string | false | null }
  // Of this connection: others may have been shown another one before, or since.
  const certificate = inside.getX509Certificate()
  const tlsEndPoint = certificate && endPointBinding(certificate.raw)
  return {
    tls,
    ...(tlsEndPoint ? { tlsEndPoint } : {}),
    ...(servername ? { serverName: servername } : {}),
  }
}

/** The first byte of every TLS record that begins a handshake; no startup packet is so long. */
const TLS_HANDSHAKE = 0x16

/** Tells where one connection belongs from its first bytes. */
function peekFor({ options, peer, clear }: Reception): (bytes: Uint8Array) => Peeked<Route> {
  const { shards, adminConsole, requireTls, tls } = options
  const isInside = peer.tls !== undefined
  const asked = new Set<StartupRequest['kind']>()
  return (bytes) => {
    if (tls && clear && asked.size === 0 && bytes[0] === TLS_HANDSHAKE) {
      return { kind: 'route', route: { to: 'tls', socket: clear, tls, isDirect: true } }
    }
    const request = parseStartup(bytes)
    switch (request.kind) {
      case 'incomplete':
        return undefined
      case 'goodbye':
        return { kind: 'refuse', lastBytes: new Uint8Array(0) }
      case 'invalid':
        return refusal(request.error)
      case 'ssl':
      case 'gssenc':
        if (isInside) return refusal(encryptedAlready())
        if (request.kind === 'ssl' && tls && clear) {
          // Whoever stands in between may have put them there; they are not the client's word.
          if (bytes.length > request.byteLength) return refusal(unencryptedData())
          return { kind: 'route', route: { to: 'tls', socket: clear, tls, isDirect: false } }
        }
        if (asked.has(request.kind)) return { kind: 'refuse', lastBytes: new Uint8Array(0) }
        asked.add(request.kind)
        return { kind: 'reply', reply: ENCRYPTION_REFUSED, consumedBytes: request.byteLength }
      case 'cancel':
        if (!shards.cancel(request.processId, request.secret)) {
          adminConsole?.cancel(request.processId, request.secret)
        }
        // As in Postgres no answer says whether the key was right.
        return { kind: 'refuse', lastBytes: new Uint8Array(0) }
      case 'startup':
        // A WebSocket is inside of HTTPS then.
        if (requireTls && !isInside && !peer.webSocket) return refusal(tlsRequired())
        return { kind: 'route', route: routeOf(request, peer, options) }
    }
  }
}

function refusal(error: PgnapError): Peeked<never> {
  return { kind: 'refuse', lastBytes: errorResponse(error, 'FATAL') }
}

/** What names no tenant, or two of them, is refused by any shard in the same words. */
function routeOf(
  packet: StartupPacket,
  { serverName }: Peer,
  { adminConsole, domain }: WireListenerOptions,
): Route {
  try {
    const { database } = selectTenant({ ...packet, serverName }, domain)
    if (adminConsole && database === CONSOLE_NAME) return { to: 'console', adminConsole }
    return { to: 'tenant', tenant: parseTenantAddress(database).tenant }
  } catch (error) {
    if (error instanceof PgnapError) return { to: 'shard', index: 0 }
    throw error
  }
}

function tooMany(connectionsMax: number): PgnapError {
  return new PgnapError('CONNECTIONS_EXHAUSTED', 'sorry, too many clients already', {
    detail: `this server takes ${connectionsMax} connections`,
    hint: 'close idle connections, or raise --max-connections',
  })
}

/** In the words of Postgres (CVE-2021-23214). */
function unencryptedData(): PgnapError {
  return new PgnapError('PROTOCOL_VIOLATION', 'received unencrypted data after SSL request', {
    detail:
      'This could be either a client-software bug or evidence of an attempted ' +
      'man-in-the-middle attack.',
  })
}

function encryptedAlready(): PgnapError {
  return new PgnapError('PROTOCOL_VIOLATION', 'this connection is encrypted already', {
    hint: 'send the startup packet',
  })
}

function tlsRequired(): PgnapError {
  return new PgnapError('TLS_REQUIRED', 'no encryption: this server takes TLS connections only', {
    hint: 'connect with sslmode=require; sslmode=verify-full checks the certificate, too',
  })
}

function notThere(): PgnapError {
  return new PgnapError('STARTING', 'the thread that serves this tenant is being started', {
    hint: 'connect again in a moment',
  })
}
