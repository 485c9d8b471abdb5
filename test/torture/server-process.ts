/**
 * The shipped program as a process of its own, which can be killed at any moment. The program is
 * run by node itself and not through a shell or npm, so that a signal reaches it and nothing in
 * between.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { within } from './within.ts'

const PROGRAM =
  process.env['PGNAP_PROGRAM'] ?? fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
/**
 * Naps and the pruning of history happen within a round, and memory has room for a few images only,
 * so that tenants are found in every state.
 */
const HASTE = { 'nap-after': '300ms', retention: '1s', 'image-cache': '32MB' }
const OUTPUT_CHARS_MAX = 8_000
/** A server that is not ready or gone by then hangs, which is a failure. */
const PATIENCE_MS = 60_000

export interface ServerOptions {
  /** The data folder. */
  readonly data: string
  readonly shards: number
  readonly slots: number
}

export interface Ports {
  readonly port: number
  readonly httpPort: number
}

/** Processes that are still running: whatever way the torture ends, none of them outlives it. */
const running = new Set<ChildProcess>()

process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export class ServerProcess {
  readonly #process: ChildProcess
  readonly #ready: Promise<Ports>
  readonly #exited: Promise<unknown>
  #output = ''

  constructor({ data, shards, slots }: ServerOptions) {
    const settings = { data, shards, slots, port: 0, 'http-port': 0, ...HASTE }
    const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
    const words = ['serve', '--json', '--verify-swaps', ...flags]
    const child = spawn(process.execPath, [PROGRAM, ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#process = child
    running.add(child)
    const keep = (text: string): void => {
      this.#output = (this.#output + text).slice(-OUTPUT_CHARS_MAX)
    }
    child.stderr.setEncoding('utf8').on('data', keep)
    this.#exited = once(child, 'close').finally(() => running.delete(child))
    this.#ready = readyPorts(child)
    // Whoever kills a server in the middle of its start does not wait for it to be ready.
    this.#ready.catch(() => {})
  }

  /** What the server has logged last. */
  get output(): string {
    return this.#output
  }

  /** Its ports, once it accepts connections. Rejects if it ends instead. */
  async ready(): Promise<Ports> {
    try {
      return await within(PATIENCE_MS, this.#ready, 'the server did not get ready')
    } catch (error) {
      throw new Error(`the server did not start:\n${this.#output}`, { cause: error })
    }
  }

  /** kill -9. Resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#exited
  }

  /** Asks the server to stop; its exit code. Rejects if it does not. */
  async stop(): Promise<number | null> {
    this.#process.kill('SIGTERM')
    await within(PATIENCE_MS, this.#exited, 'the server did not stop')
    return this.#process.exitCode
  }
}

async function readyPorts(child: ChildProcess): Promise<Ports> {
  if (!child.stdout) throw new Error('the output of the server is not read')
  for await (const line of createInterface(child.stdout)) {
    const told = JSON.parse(line) as { event: string } & Ports
    if (told.event === 'ready') return told
  }
  throw new Error('the server ended before it was ready')
}
