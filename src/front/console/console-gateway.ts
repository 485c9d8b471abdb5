/**
 * The admin console as a gateway: to its connection it looks like any tenant. Who may log in at all
 * may look, and act: users are the same for all tenants, so nobody reaches more than elsewhere.
 */
import type { Log } from '../../base/log.ts'
import type { BackendClient, Gateway } from '../../router/gateway.ts'
import type { Verifier } from '../../router/scram-verifier.ts'
import { ConsoleClient } from './console-client.ts'
import type { ConsoleSources } from './table.ts'

export interface ConsoleGatewayOptions {
  readonly authentication: 'trust' | 'scram'
  readonly passwordFor: (user: string) => Promise<Verifier | undefined>
  readonly sources: ConsoleSources
  /** Aborted when the client has sent its last byte. Default: never. */
  readonly gone?: AbortSignal
  readonly log: Log
}

export class ConsoleGateway implements Gateway {
  readonly authentication: 'trust' | 'scram'
  readonly #options: ConsoleGatewayOptions

  constructor(options: ConsoleGatewayOptions) {
    this.authentication = options.authentication
    this.#options = options
  }

  passwordFor(user: string): Promise<Verifier | undefined> {
    return this.#options.passwordFor(user)
  }

  async connect(): Promise<BackendClient> {
    const { sources, log, gone } = this.#options
    return new ConsoleClient(sources, log, gone)
  }
}
