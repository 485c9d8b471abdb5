/**
 * The admin console, whose code is loaded when somebody first asks for it: it needs the whole wire
 * room, which the main thread needs for nothing else, and a server that starts has clients waiting.
 */
import type { Duplex } from 'node:stream'
import type { Peer } from '../../front/control.ts'
import type { AdminConsole, AdminConsoleOptions } from './admin-console.ts'

export class LazyConsole implements Pick<AdminConsole, 'serve' | 'cancel' | 'close'> {
  readonly #options: AdminConsoleOptions
  #loading: Promise<AdminConsole> | undefined
  #loaded: AdminConsole | undefined
  #closed = false

  constructor(options: AdminConsoleOptions) {
    this.#options = options
  }

  serve(socket: Duplex, peer: Peer, initialBytes: Uint8Array): void {
    if (this.#loaded) {
      this.#loaded.serve(socket, peer, initialBytes)
      return
    }
    this.#load().then(
      (loaded) => {
        loaded.serve(socket, peer, initialBytes)
        if (this.#closed) loaded.close()
      },
      (error: unknown) => {
        this.#options.log.error('the admin console cannot be loaded', { error })
        socket.destroy()
      },
    )
  }

  /** Before it is loaded it has no clients. */
  cancel(processId: number, secret: Uint8Array): boolean {
    return this.#loaded?.cancel(processId, secret) ?? false
  }

  close(): void {
    this.#closed = true
    this.#loaded?.close()
  }

  #load(): Promise<AdminConsole> {
    this.#loading ??= import('./admin-console.ts').then(
      (module) => (this.#loaded = new module.AdminConsole(this.#options)),
    )
    return this.#loading
  }
}
