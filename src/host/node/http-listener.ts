/** The HTTP front on Node: one listening server around the application. */
import type { IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { POSTGRES_VERSION } from '../../engine/recipe.ts'
import type { Control } from '../../front/control.ts'
import { createHttp } from '../../front/http/app.ts'
import type { Credentials } from '../../router/credentials.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config.ts'
import { explainListenError } from './listen-error.ts'
import { passwordCheck } from './password-check.ts'
import { systemRandom } from './random.ts'
import type { ServerOptions } from './server.ts'
import { WebSocketDoor } from './web-socket-door.ts'
import type { Address, WireListener } from './wire-listener.ts'

export interface HttpListener {
  readonly address: Address
  close(): Promise<void>
}

export interface HttpOptions extends Pick<ServerOptions, 'log' | 'version'> {
  readonly credentials: Promise<Credentials | undefined>
  /** Where the Postgres protocol goes that comes inside of WebSockets. */
  readonly accept: WireListener['accept']
}

/** Errors: CONFIG_INVALID if the address cannot be listened on or the auth file not be read. */
export async function listenForHttp(
  config: Config,
  control: Control,
  { log, version, credentials, accept }: HttpOptions,
): Promise<HttpListener> {
  const { host, httpPort: port } = config
  const authenticate = await passwordCheck(await credentials, systemRandom)
  const guard = { allowedHosts: [host], ...(authenticate ? { authenticate } : {}) }
  const app = createHttp({
    ...guard,
    control,
    clock: systemClock,
    log,
    version,
    serverVersion: POSTGRES_VERSION,
  })
  const door = new WebSocketDoor({ guard, accept, clock: systemClock, log })
  const server = createAdaptorServer({
    fetch: app.fetch,
    serverOptions: { shouldUpgradeCallback: (request) => door.isWanted(request) },
  })
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) =>
    door.open(request, socket, head),
  )
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
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
