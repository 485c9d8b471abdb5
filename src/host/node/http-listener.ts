/**
 * The HTTP front on Node: one listening server around the application. With a certificate it speaks
 * HTTPS and nothing else: a password that is sent to the wrong scheme has been sent.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type {
  createServer,
  Server as HttpsServer,
  ServerOptions as HttpsServerOptions,
} from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { getConnInfo } from '@hono/node-server/conninfo'
import type { Context } from 'hono'
import { POSTGRES_VERSION } from '../../engine/recipe.ts'
import type { Control } from '../../front/control.ts'
import { createHttp } from '../../front/http/app.ts'
import type { GuardAdvice, GuardOptions } from '../../front/http/guard.ts'
import { HeldBytes } from '../../base/held-bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import type { TokenCheck } from '../../router/web-tokens.ts'
import { readAdminToken, tokenCheck } from './admin-token.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config.ts'
import { explainListenError } from './listen-error.ts'
import { lazyMetrics } from './metrics/lazy-metrics.ts'
import { passwordCheck } from '../password-check.ts'
import { inTurn } from './pipelined-requests.ts'
import { systemRandom } from './random.ts'
import type { ServerOptions } from './server.ts'
import type { ServerUsers } from './server-users.ts'
import { Handshakes } from './tls/handshakes.ts'
import type { Identity } from './tls/identity.ts'
import { WebSocketDoor } from './web-socket-door.ts'
import type { Address, WireListener } from './wire-listener.ts'

const ADVICE: GuardAdvice = {
  host: 'name it with --host or --domain',
  origin:
    'ask from a program of your own; with passwords (--auth scram) any page may use /sql and /v2',
}

export interface HttpListener {
  readonly address: Address
  close(): Promise<void>
}

interface HttpsOptions {
  readonly createServer: typeof createServer
  readonly serverOptions: HttpsServerOptions
}

export interface HttpOptions extends Pick<ServerOptions, 'log' | 'version'> {
  /** Undefined under `trust`. */
  readonly users: Pick<ServerUsers, 'users' | 'limiter'> | undefined
  /** Where the Postgres protocol goes that comes inside of WebSockets. */
  readonly accept: WireListener['accept']
  /** Where it is spoken without them. */
  readonly wirePort: number
  /** Without it the port speaks HTTP in the clear. */
  readonly identity: Identity | undefined
}

/** Errors: CONFIG_INVALID if the address cannot be listened on or the auth file not be read. */
export async function listenForHttp(
  config: Config,
  control: Control,
  { log, version, users, accept, wirePort, identity }: HttpOptions,
): Promise<HttpListener> {
  const { host, httpPort: port } = config
  const guard = await openGuard(config, users)
  const held = new HeldBytes(config.clientBytesMax)
  const app = createHttp({
    ...guard,
    control,
    clock: systemClock,
    log,
    version,
    serverVersion: POSTGRES_VERSION,
    held,
    wirePort,
    metrics: lazyMetrics({ control, clock: systemClock, version }),
  })
  const door = new WebSocketDoor({ guard, accept, held, clock: systemClock, log })
  const isWanted = (request: IncomingMessage): boolean => door.isWanted(request)
  const server = createAdaptorServer({
    fetch: inTurn(app.fetch),
    ...serverOptions(identity, isWanted),
  })
  server.on('request', (_, outgoing: ServerResponse) => holdAnswer(outgoing, held))
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) =>
    door.open(request, socket, head),
  )
  // Beyond, newcomers are closed: each takes a descriptor, whoever it is. More than clients there
  // may be, so that one too many is told so.
  server.maxConnections = config.connectionsMax + LIMITS.startupConnectionsMax
  const handshakes = new Handshakes<true>()
  if (identity) {
    const secure = server as HttpsServer
    identity.onRenewed((context) => secure.setSecureContext(context))
    secure.on('connection', (socket: Socket) => handshakes.begin(socket, true))
    secure.on('secureConnection', (inside) => handshakes.end(inside))
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(explainListenError(error, { host, port, flag: 'http-port' })),
    )
    server.listen(port, host, resolve)
  })
  const bound = server.address() as AddressInfo
  return {
    address: { host: bound.address, port: bound.port },
    close: () => {
      door.close()
      const closed = closeServer(server as HttpsServer)
      // `close` ends connections without a request, but waits for those without a handshake.
      handshakes.destroy()
      return closed
    },
  }
}

/** An answer that its client does not read is on the account, too, until it has gone. */
function holdAnswer(outgoing: ServerResponse, held: HeldBytes): void {
  outgoing.once('prefinish', () => {
    const { socket } = outgoing
    const bytes = socket?.writableLength ?? 0
    if (bytes <= LIMITS.heldUncountedBytes) return
    const holder = { giveUp: () => void outgoing.destroy() }
    outgoing.once('close', () => held.delete(holder))
    held.set(holder, bytes, socket?.remoteAddress)
  })
}

/** From here on Node hurries nobody: half a request would be waited for for ever. */
function closeServer(server: HttpsServer): Promise<void> {
  return new Promise((resolve) => {
    const late = systemClock.setTimer(LIMITS.drainAnswersMs, () => server.closeAllConnections())
    server.close(() => {
      late.cancel()
      resolve()
    })
  })
}

/** Whom the application lets in. Errors: as of {@link listenForHttp}. */
async function openGuard(config: Config, users: HttpOptions['users']): Promise<GuardOptions> {
  const { host, domain, adminTokenFile } = config
  const authenticate = await passwordCheck(await users?.users, systemRandom)
  const admin =
    adminTokenFile === undefined ? {} : { isAdminToken: tokenCheck(readAdminToken(adminTokenFile)) }
  const authenticateToken = await openTokenCheck(config)
  return {
    allowedHosts: [host],
    domain,
    advice: ADVICE,
    ...(authenticate ? { authenticate } : {}),
    ...(users ? { limiter: users.limiter } : {}),
    addressOf: (context: Context) => getConnInfo(context).remote.address ?? '',
    ...admin,
    ...(authenticateToken ? { authenticateToken } : {}),
  }
}

/** Only a server with keys needs the code that reads tokens. */
async function openTokenCheck(config: Config): Promise<TokenCheck | undefined> {
  if (config.jwks === undefined) return undefined
  const { configuredTokenCheck } = await import('./web-token-check.ts')
  return configuredTokenCheck(config)
}

/** Without a certificate nobody waits for Node's code for one. */
function serverOptions(
  identity: Identity | undefined,
  isWanted: (request: IncomingMessage) => boolean,
): Partial<HttpsOptions> {
  const upgrade = { shouldUpgradeCallback: isWanted }
  if (!identity) return { serverOptions: upgrade }
  const https = process.getBuiltinModule('node:https')
  const handshakeTimeout = LIMITS.authenticationMs
  const secure = { ...identity.context, handshakeTimeout }
  return { createServer: https.createServer, serverOptions: { ...upgrade, ...secure } }
}
