/**
 * Accepts Postgres connections in the main thread: reads just enough of the startup packet to know
 * the tenant, and hands the connection to the tenant's shard. What is wrong with a connection is
 * said by the shard, in one place; here only what cannot be handed on is refused.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import { ENCRYPTION_REFUSED, errorResponse } from '../../front/wire/server-messages.ts'
import { parseStartup, type StartupRequest } from '../../front/wire/startup.ts'
import { parseTenantAddress } from '../../router/tenant-name.ts'
import { explainListenError } from './listen-error.ts'
import type { Handover } from './handover/handover.ts'
import { type Peeked, readRoute } from './handover/read-route.ts'
import type { ShardSet } from './shard/shard-set.ts'
import { shardOfProcess } from './shard/shard.ts'

export interface WireListenerOptions {
  readonly host: string
  readonly port: number
  readonly connectionsMax: number
  readonly handover: Handover
  readonly shards: ShardSet
  readonly clock: Clock
  readonly log: Log
}

export interface Address {
  readonly host: string
  readonly port: number
}

export interface WireListener {
  readonly address: Address
  /** Takes no more connections; those there are go on. */
  close(): void
}

/** Errors: CONFIG_INVALID if the address cannot be listened on. */
export async function listenForWire(options: WireListenerOptions): Promise<WireListener> {
  const { host, port } = options
  const server: Server = createServer({ noDelay: true, keepAlive: true }, (socket) =>
    accept(socket, options),
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(explainListenError(error, { host, port, flag: 'port' })))
    server.listen(port, host, resolve)
  })
  const bound = server.address() as AddressInfo
  return { address: { host: bound.address, port: bound.port }, close: () => server.close() }
}

function accept(socket: Socket, options: WireListenerOptions): void {
  const { clock, shards, handover, connectionsMax } = options
  if (handover.openCount >= connectionsMax) {
    socket.on('error', () => socket.destroy())
    socket.end(errorResponse(tooMany(connectionsMax), 'FATAL'))
    return
  }
  readRoute({ socket, clock, peek: peekFor(shards) }, (shard, initialBytes) => {
    shards.want(shard)
    if (handover.hand(socket, shard, null, initialBytes)) return
    // The shard's thread is being replaced: the client is told to come again.
    socket.end(errorResponse(notThere(), 'FATAL'), () => socket.destroy())
  })
}

/** Tells the shard of one connection from its first bytes. */
function peekFor(shards: ShardSet): (bytes: Uint8Array) => Peeked<number> {
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
        return { kind: 'route', route: shardOfProcess(request.processId, shards.count) }
      case 'startup':
        return { kind: 'route', route: shardOfDatabase(request.database, shards) }
    }
  }
}

/** A name that is no tenant's is refused by any shard in the same words. */
function shardOfDatabase(database: string, shards: ShardSet): number {
  try {
    return shards.indexOf(parseTenantAddress(database).tenant)
  } catch (error) {
    if (error instanceof PgnapError) return 0
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
