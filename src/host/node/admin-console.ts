/**
 * The admin console of a running server: serves the connections that ask for the database `pgnap`,
 * in the main thread, where one looks at the shards from outside. So it answers when a shard does
 * not, and it has connections of its own, so that it can be reached when the tenants' are used up.
 */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Log } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import { POSTGRES_VERSION } from '../../engine/recipe.ts'
import { ConsoleGateway } from '../../front/console/console-gateway.ts'
import type { ConsoleSources, SettingFacts } from '../../front/console/table.ts'
import type { Control, Peer } from '../../front/control.ts'
import type { Operations } from '../../front/operations.ts'
import { WireConnection } from '../../front/wire/connection.ts'
import { equalInConstantTime } from '../../front/wire/scram.ts'
import { errorResponse } from '../../base/error-message.ts'
import type { Credentials } from '../../router/credentials.ts'
import type { LoginLimiter } from '../../router/login-attempts.ts'
import { type Config, SETTINGS, validate } from './config.ts'
import { SocketLink } from './handover/socket-link.ts'
import { Newcomers } from './newcomers.ts'

export interface AdminConsoleOptions {
  readonly control: Control
  readonly operations: Operations
  readonly config: Config
  /** Undefined under `trust`. */
  readonly credentials: Promise<Credentials | undefined> | undefined
  /** Makes unknown users look like known ones; undefined under `trust`. */
  readonly saltSecret?: Uint8Array<ArrayBuffer> | undefined
  readonly limiter?: LoginLimiter | undefined
  readonly version: string
  /** When the server was started, in milliseconds since 1970. */
  readonly startedMs: number
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

export class AdminConsole {
  readonly #options: AdminConsoleOptions
  readonly #gatewayFor: (gone: AbortSignal) => ConsoleGateway
  readonly #connections = new Set<WireConnection>()
  readonly #newcomers: Newcomers

  constructor(options: AdminConsoleOptions) {
    const { control, operations, config, credentials, version, startedMs, clock, log } = options
    this.#options = options
    this.#newcomers = new Newcomers({
      countMax: LIMITS.consoleConnectionsMax * LIMITS.loginShareMax,
      graceMs: LIMITS.loginGraceMs,
      clock,
    })
    const sources: ConsoleSources = {
      control,
      operations,
      clock,
      version,
      serverVersion: POSTGRES_VERSION,
      startedMs,
      settings: settingFacts(config),
      userCount: async () => (await credentials)?.userCount ?? 0,
      clients: () => Array.from(this.#connections, (connection) => connection.facts()),
    }
    this.#gatewayFor = (gone) =>
      new ConsoleGateway({
        authentication: config.auth,
        passwordFor: async (user) => (await credentials)?.verifierOf(user),
        sources,
        gone,
        log,
      })
  }

  /** Takes over a socket of which `initialBytes` have been read, with reading paused. */
  serve(socket: Duplex, peer: Peer, initialBytes: Uint8Array): void {
    // It says nothing any more, so nobody would hear of its end.
    if (socket.destroyed) return
    const { clock, random, log, config, saltSecret, limiter } = this.#options
    const link = new SocketLink({ socket, clock })
    if (this.#connections.size >= LIMITS.consoleConnectionsMax) {
      link.end(errorResponse(tooMany(), 'FATAL'))
      return
    }
    const gone = new AbortController()
    const connection: WireConnection = new WireConnection({
      link,
      gateway: this.#gatewayFor(gone.signal),
      clock,
      random,
      log,
      serverVersion: POSTGRES_VERSION,
      peer,
      limiter,
      domain: config.domain,
      ...(saltSecret ? { mockSecret: saltSecret } : {}),
      onLetIn: () => letIn(),
      onClosed: () => {
        letIn()
        this.#connections.delete(connection)
      },
    })
    const letIn = this.#newcomers.enter(() => connection.shutdown(tooMany()))
    this.#connections.add(connection)
    connection.receive(initialBytes)
    link.start({
      receive: (bytes) => connection.receive(bytes),
      linkDrained: () => connection.linkDrained(),
      linkEnded: () => {
        connection.linkEnded()
        gone.abort()
      },
      linkClosed: () => connection.linkClosed(),
    })
  }

  /**
   * Cancels what the client with this key waits for. False if it is not one of the console's: it
   * then is one of a shard's, whose numbers may be the same.
   */
  cancel(processId: number, secret: Uint8Array): boolean {
    for (const connection of this.#connections) {
      if (connection.processId !== processId || connection.secret.length === 0) continue
      if (!equalInConstantTime(connection.secret, secret)) continue
      connection.cancel()
      return true
    }
    return false
  }

  /** Sends everybody away. */
  close(): void {
    const goodbye = new PgnapError(
      'SHUTTING_DOWN',
      'terminating connection due to administrator command',
      { hint: 'connect again when the server is back' },
    )
    for (const connection of this.#connections) {
      connection.shutdown(goodbye)
      connection.cancel()
    }
  }
}

/** PgBouncer's name for one of ours, which its exporters look for. */
const PGBOUNCER_NAMES: Readonly<Partial<Record<keyof Config, string>>> = {
  connectionsMax: 'max_client_conn',
}

/** As the configuration file names them. It never shows what is in a file that is only named. */
function settingFacts(config: Config): SettingFacts[] {
  const defaults = validate({})
  return (Object.keys(SETTINGS) as (keyof Config)[]).flatMap((name) => {
    const facts = { name, value: textOf(config[name]), otherwise: textOf(defaults[name]) }
    const other = PGBOUNCER_NAMES[name]
    return other === undefined ? [facts] : [facts, { ...facts, name: other }]
  })
}

function textOf(value: Config[keyof Config]): string | null {
  return value === undefined ? null : String(value)
}

function tooMany(): PgnapError {
  return new PgnapError('CONNECTIONS_EXHAUSTED', 'sorry, too many clients already', {
    detail: `the limit consoleConnectionsMax is ${LIMITS.consoleConnectionsMax}`,
    hint: 'close idle connections to the admin console',
  })
}
