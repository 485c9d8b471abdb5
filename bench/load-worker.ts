/**
 * The load generator's thread: closed-loop clients (the next statement leaves when the last answer
 * is complete), each with its prepared statements and their messages built beforehand.
 */
import { performance } from 'node:perf_hooks'
import { parentPort } from 'node:worker_threads'
import { assert } from '../src/base/assert.ts'
import { HASH_START, hashBytes } from './wire/answer-scanner.ts'
import { Connection } from './wire/connection.ts'
import { executeMessage, prepareMessage } from './wire/messages.ts'

export interface LoadClient {
  readonly database: string
  /** Parameters of each execution, in order. */
  readonly parameters: readonly (readonly string[])[]
}

export interface LoadJob {
  readonly port: number
  readonly user: string
  /** A statement, or several that each client executes by turns. */
  readonly sql: string | readonly string[]
  readonly clients: readonly LoadClient[]
  /** The first executions of each client are not timed; they are part of the hash. */
  readonly warmUpCount: number
}

export interface LoadResult {
  /** From the first timed statement of any client to the last answer. */
  readonly elapsedMs: number
  readonly latenciesMs: readonly number[]
  /** Of all rows of all clients, client by client. */
  readonly hash: number
  /**
   * Processor time of this thread per timed statement: how much of the machine the measuring took.
   */
  readonly generatorMsPerStatement: number
}

/** What the thread is sent. */
export interface NumberedJob {
  readonly number: number
  readonly job: LoadJob
}

/** What the thread sends, with the number of the job. */
export type LoadAnswer =
  | { readonly number: number; readonly result: LoadResult }
  | { readonly number: number; readonly error: string }

interface Prepared {
  readonly connection: Connection
  readonly requests: readonly Buffer[]
}

/**
 * Never repeats in one run: a peer that shares one backend among its clients keeps their
 * statements.
 */
let statementCount = 0

async function prepare(job: LoadJob, client: LoadClient): Promise<Prepared> {
  const connection = await Connection.open(
    { port: job.port, user: job.user, database: client.database },
    { keepRows: false },
  )
  const statements: string[] = []
  for (const sql of [job.sql].flat()) {
    const statement = `bench_${++statementCount}`
    await connection.exchange(prepareMessage(statement, sql))
    statements.push(statement)
  }
  const requests = client.parameters.map((parameters, index) =>
    executeMessage(statements[index % statements.length] ?? '', parameters),
  )
  return { connection, requests }
}

/** Sends requests [from, to) one after the other; calls `timed` with each latency. */
function loop(
  client: Prepared,
  from: number,
  to: number,
  timed: (ms: number) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let index = from
    const next = (): void => {
      const request = client.requests[index++]
      if (index > to || request === undefined) {
        resolve()
        return
      }
      const startMs = performance.now()
      client.connection.send(request, (error) => {
        if (error !== undefined) {
          reject(error)
          return
        }
        timed(performance.now() - startMs)
        next()
      })
    }
    next()
  })
}

async function run(job: LoadJob): Promise<LoadResult> {
  const clients: Prepared[] = []
  try {
    for (const client of job.clients) clients.push(await prepare(job, client))
    const warmUp = job.warmUpCount
    await Promise.all(clients.map((client) => loop(client, 0, warmUp, () => {})))
    const latenciesMs: number[] = []
    const processor = process.threadCpuUsage()
    const startMs = performance.now()
    await Promise.all(
      clients.map((client) =>
        loop(client, warmUp, client.requests.length, (ms) => latenciesMs.push(ms)),
      ),
    )
    const elapsedMs = performance.now() - startMs
    const used = process.threadCpuUsage(processor)
    const generatorMs = (used.user + used.system) / 1000
    return {
      elapsedMs,
      latenciesMs,
      hash: hashOf(clients.map((client) => client.connection.scanner.hash)),
      generatorMsPerStatement: generatorMs / latenciesMs.length,
    }
  } finally {
    await Promise.all(clients.map((client) => client.connection[Symbol.asyncDispose]()))
  }
}

function hashOf(hashes: readonly number[]): number {
  const bytes = new Uint8Array(Uint32Array.from(hashes).buffer)
  return hashBytes(HASH_START, bytes, 0, bytes.length)
}

const port = parentPort
assert(port !== null, 'this file runs in a worker thread')
port.on('message', ({ number, job }: NumberedJob) => {
  const answer = (message: LoadAnswer): void => port.postMessage(message)
  run(job).then(
    (result) => answer({ number, result }),
    (error: unknown) => answer({ number, error: String(error) }),
  )
})
