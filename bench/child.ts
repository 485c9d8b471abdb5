/**
 * Server processes of the benchmark: started, watched, and always ended. Output is kept (its tail),
 * so that a server which dies says why. Never a shell: a shell would be measured too.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

const OUTPUT_CHARS_MAX = 4_000
const STOP_MS_MAX = 20_000

/**
 * Postgres and PgBouncer refuse to run as root; a root-owned bench runs them as this user
 * ("nobody").
 */
const UNPRIVILEGED_ID = 65_534

/** Identity to run database servers under: undefined means as ourselves. */
export const SERVER_USER: { readonly uid: number; readonly gid: number } | undefined =
  process.getuid?.() === 0 ? { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID } : undefined

/** Running servers: whatever way the bench ends, none of them outlives it. */
const running = new Set<ChildProcess>()

process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export interface ChildOptions {
  /** Run under {@link SERVER_USER}. */
  readonly unprivileged?: boolean
  /** The signal that asks this program to end in its orderly way. */
  readonly stopSignal?: NodeJS.Signals
  readonly cwd?: string
}

export class Child {
  readonly #process: ChildProcess
  readonly #stopSignal: NodeJS.Signals
  readonly #exited: Promise<unknown>
  readonly #abort: AbortController = new AbortController()
  #output = ''

  constructor(program: string, args: readonly string[], options: ChildOptions = {}) {
    this.#stopSignal = options.stopSignal ?? 'SIGTERM'
    this.#process = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.unprivileged ? SERVER_USER : {}),
    })
    const child = this.#process
    running.add(child)
    child.once('exit', () => running.delete(child))
    const keep = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_CHARS_MAX)
    }
    this.#process.stdout?.on('data', keep)
    this.#process.stderr?.on('data', keep)
    this.#exited = once(this.#process, 'exit').catch((error: unknown) => {
      this.#output += String(error)
    })
    void this.#exited.then(() => this.#abort.abort(new Error(`${program} ended: ${this.#output}`)))
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** Fires when the process has ended, with its output as the reason. */
  get ended(): AbortSignal {
    return this.#abort.signal
  }

  /** Waits for a program that ends by itself; rejects unless it succeeded. */
  async success(): Promise<void> {
    await this.#exited
    if (this.#process.exitCode !== 0) throw this.#abort.signal.reason
  }

  /** Asks the process to end and waits for it; kills it if it does not. */
  async stop(): Promise<void> {
    if (this.#abort.signal.aborted) return
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_MS_MAX)
    this.#process.kill(this.#stopSignal)
    await this.#exited
    clearTimeout(timer)
  }
}

/** Runs a program to its end; rejects with its output unless it succeeded. */
export async function runToEnd(
  program: string,
  args: readonly string[],
  options: ChildOptions = {},
): Promise<void> {
  await new Child(program, args, options).success()
}
