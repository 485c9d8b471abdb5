/**
 * Accepts Postgres connections in the main thread: reads just enough of the startup packet to know
 * the tenant, and hands the connection to the tenant's shard, or to the admin console. What is
 * wrong with a connection is said there, in one place; here only what cannot be handed on is
 * refused.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock } from '../../base/clock.ts'
import { PgnapError, toPgnapError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { Peer } from '../../front/control.ts'
import { ENCRYPTION_REFUSED, errorResponse } from '../../front/wire/server-messages.ts'
import { parseStartup, type StartupRequest } from '../../front/wire/startup.ts'
import { CONSOLE_NAME, parseTenantAddress } from '../../router/tenant-name.ts'
import type { AdminConsole } from './admin-console.ts'
import { explainListenError } from './listen-error.ts'
import type { Visit } from '../../router/assignments.ts'
import type { TenantName } from '../../base/ids.ts'
import type { Handover } from './handover/handover.ts'
import { type Peeked, readRoute } from './handover/read-route.ts'
import type { ShardSet } from './shard/shard-set.ts'

export interface WireListenerOptions {
  readonly host: string
  readonly port: number
  readonly connectionsMax: number
  readonly handover: Handover
  readonly shards: ShardSet
  /** Without it the name `pgnap` is refused by a shard, as any that no tenant may have. */
  readonly adminConsole?: ConsoleDoor
  readonly clock: Clock
  readonly log: Log
}

/** What leads to the admin console, loaded or not. */
type ConsoleDoor = Pick<AdminConsole, 'serve' | 'cancel'>

type Route =
  | { readonly to: 'tenant'; readonly tenant: TenantName }
  | { readonly to: 'shard'; readonly index: number }
  | { readonly to: 'console'; readonly adminConsole: ConsoleDoor }

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
  const server: Server = createServer({ noDelay: true, keepAlive: true }, (socket) =>
    accept(socket, peerOf(socket), options),
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(explainListenError(error, { host, port, flag: 'port' })))
    server.listen(port, host, resolve)
  })
  const bound = server.address() as AddressInfo
  return {
    address: { host: bound.address, port: bound.port },
    accept: (stream, peer) => accept(stream, peer, options),
    close: () => server.close(),
  }
}

function accept(socket: Duplex, peer: Peer, options: WireListenerOptions): void {
  const { clock, shards, handover, connectionsMax } = options
  readRoute({ socket, clock, peek: peekFor(options) }, (route, initialBytes) => {
    const arrival = { socket, peer, initialBytes }
    if (route.to === 'console') {
      route.adminConsole.serve(socket, peer, initialBytes)
    } else if (handover.openCount >= connectionsMax) {
      refuse(socket, tooMany(connectionsMax))
    } else if (route.to === 'shard') {
      hand(arrival, route.index, options)
    } else {
      const visit = shards.enter(route.tenant, 'connection')
      if (visit instanceof Promise) {
        visit.then(
          (late) => handVisit(arrival, late, options),
          (error: unknown) => refuse(socket, toPgnapError(error)),
        )
      } else handVisit(arrival, visit, options)
    }
  })
}

/** A connection whose first bytes have been read, with reading paused. */
interface Arrival {
  readonly socket: Duplex
  readonly peer: Peer
  readonly initialBytes: Uint8Array
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
  // Without: the shard's thread is being replaced, and the client is told to come again.
  if (!handover.hand(socket, index, peer, initialBytes)) refuse(socket, notThere())
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

/** Tells where one connection belongs from its first bytes. */
function peekFor({
  shards,
  adminConsole,
}: WireListenerOptions): (bytes: Uint8Array) => Peeked<Route> {
  const asked = new Set<StartupRequest['kind']>()
  return (bytes) => {
    const request = parseStartup(bytes)
    switch (request.kind) {
      case 'incomplete':
        return undefined
      case 'invalid':
        return { kind: 'refuse', lastBytes: errorResponse(request.error, 'FATAL') }
      case 'ssl':
      case 'gssenc':
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
        if (adminConsole && request.database === CONSOLE_NAME) {
          return { kind: 'route', route: { to: 'console', adminConsole } }
        }
        return { kind: 'route', route: routeOf(request.database) }
    }
  }
}

/** A name that is no tenant's is refused by any shard in the same words. */
function routeOf(database: string): Route {
  try {
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

function notThere(): PgnapError {
  return new PgnapError('STARTING', 'the thread that serves this tenant is being started', {
    hint: 'connect again in a moment',
  })
}
