/**
 * The shipped program as a child process, for integration tests: `pgnap serve` on free loopback
 * ports and a fresh data folder. What a test sees of the server is what a user sees: ports, files,
 * exit codes, and what was printed.
 *
 * PGNAP_PROGRAM names another program with the same command line, such as the one that was built
 * into dist. A server is ended by its process id and in any case with its test process: no run may
 * leave one behind, and none may end what it did not start.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { temporaryFolder } from './temporary-folder.ts'

const PROGRAM = process.env['PGNAP_PROGRAM'] ?? join(import.meta.dirname, '../../src/cli/main.ts')
/**
 * A first start may build the engine, which takes seconds; every other one is ready in less than
 * one.
 */
const START_MS_MAX = 90_000
/** What should end by itself and does not is ended: the test then says what it had printed. */
const END_MS_MAX = 20_000

/** How a process ended. */
export interface Exit {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
}

/** How a program that was run to its end came out. */
export interface Outcome extends Exit {
  readonly stdout: string
  readonly stderr: string
}

export interface StartOptions {
  /** Further flags of `pgnap serve`. */
  readonly flags?: readonly string[]
  /** Another program, with variables of its own. Default: the one that all tests run. */
  readonly program?: { readonly path: string; readonly environment: NodeJS.ProcessEnv }
  /** Data folder that outlives the server. Default: a fresh one that goes with it. */
  readonly data?: string
}

/** With a single slot nothing can pause: what runs holds its shard's thread. */
export const NOTHING_PAUSES: readonly string[] = ['--shards', '1', '--slots', '1']

export interface ServerProcess extends AsyncDisposable {
  readonly port: number
  readonly httpPort: number
  readonly pid: number
  readonly data: string
  readonly exited: Promise<Exit>
  /** Connection string of a tenant. */
  url(tenant: string): string
  /** One HTTP request. */
  request(path: string, init?: RequestInit): Promise<Response>
  /** What the server has logged so far. */
  log(): string
  /** Sends `signal`, waits for the end. Default: SIGTERM. */
  stop(signal?: NodeJS.Signals): Promise<Exit>
}

interface Ready {
  readonly port: number
  readonly httpPort: number
  readonly pid: number
}

const running = new Set<ChildProcess>()
// A test run that is stopped from outside must take its servers with it.
process.once('SIGTERM', () => process.exit(143))
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/**
 * Starts a server and waits until it says that it is ready.
 *
 * @example
 * await using server = await startServer({ flags: ['--slots', '2'] })
 * const client = new pg.Client(server.url('acme'))
 */
export async function startServer(options: StartOptions = {}): Promise<ServerProcess> {
  const folder = options.data === undefined ? temporaryFolder() : undefined
  const data = options.data ?? folder?.path ?? ''
  const { child, exited, output } = launch(serveWords(data, options.flags), options.program)
  let ready: Ready
  try {
    ready = await readyOf(child, exited)
  } catch (error) {
    child.kill('SIGKILL')
    await exited
    folder?.[Symbol.dispose]()
    throw new Error(`pgnap serve did not become ready:\n${output.stderr}`, { cause: error })
  }
  const { port, httpPort, pid } = ready
  assert.equal(pid, child.pid, 'the ready line tells the process id')
  const stop = (signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> => {
    child.kill(signal)
    return exited
  }
  return {
    port,
    httpPort,
    pid,
    data,
    exited,
    url: (tenant) => `postgres://postgres@127.0.0.1:${port}/${tenant}`,
    request: (path, init) => fetch(`http://127.0.0.1:${httpPort}${path}`, init),
    log: () => output.stderr,
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop('SIGKILL')
      folder?.[Symbol.dispose]()
    },
  }
}

/**
 * The words of `pgnap serve` for a test: any free ports, one line of JSON when ready, and every
 * slot looked at when a tenant has left it.
 */
export function serveWords(data: string, flags: readonly string[] = []): string[] {
  const ports = ['--port', '0', '--http-port', '0']
  return ['serve', '--json', '--verify-swaps', '--data', data, ...ports, ...flags]
}

/**
 * Runs the program to its end, such as a server that cannot start. It may take {@link END_MS_MAX}.
 * @param input what it reads from its standard input. Default: it has none
 */
export async function runProgram(words: readonly string[], input?: string): Promise<Outcome> {
  const { child, exited, output } = launch(words)
  // A program that refuses to start does not read what it is sent.
  child.stdin?.on('error', () => {})
  child.stdin?.end(input)
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX)
  try {
    return { ...(await exited), ...output }
  } finally {
    clearTimeout(timer)
  }
}

function launch(
  words: readonly string[],
  { path, environment }: StartOptions['program'] & {} = { path: PROGRAM, environment: process.env },
): {
  readonly child: ChildProcess
  readonly exited: Promise<Exit>
  readonly output: { stdout: string; stderr: string }
} {
  const child = spawn(process.execPath, [path, ...words], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: environment,
  })
  running.add(child)
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => (output[name] += text))
  }
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status, signal) => {
      running.delete(child)
      resolve({ status, signal })
    })
  })
  return { child, exited, output }
}

async function readyOf(child: ChildProcess, exited: Promise<Exit>): Promise<Ready> {
  assert(child.stdout)
  const lines = createInterface(child.stdout)
  const { promise: ready, resolve, reject } = Promise.withResolvers<Ready>()
  lines.on('line', (line) => {
    const message = JSON.parse(line) as Ready & { readonly event: string }
    if (message.event === 'ready') resolve(message)
  })
  const timer = setTimeout(() => reject(new Error('it took too long')), START_MS_MAX)
  void exited.then(({ status }) => reject(new Error(`it ended with status ${status}`)))
  try {
    return await ready
  } finally {
    clearTimeout(timer)
    lines.close()
    child.stdout.resume()
  }
}
