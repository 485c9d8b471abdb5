/**
 * Runs pg_dump of Postgres 18, in WebAssembly and in a thread of its own, on a connection that has
 * been let in already: it is given the greeting that the connection had, so that it needs neither a
 * password nor a way to the server.
 */
import { MessageChannel, Worker } from 'node:worker_threads'
import { PgnapError } from '../../../base/errors.ts'
import { besideModule } from '../module-url.ts'
import { OUTPUT_DEVICE, type PgDumpRequest, type PgDumpTask } from './pg-dump-protocol.ts'
import type { SqlConnection } from './sql-connection.ts'
import { tableOf, tableInParts } from './table-parts.ts'

export interface PgDumpJob {
  readonly connection: SqlConnection
  readonly tenant: string
  /** Options of pg_dump's command line. */
  readonly options: readonly string[]
  /** Takes the next bytes of the dump; pg_dump waits for it. */
  readonly write: (bytes: Uint8Array) => Promise<void>
  /** Told what pg_dump remarks on a dump that it has made. */
  readonly remark: (line: string) => void
}

/** It says what it was doing, in a few lines; more of them are of no use to anybody. */
const LINES_SAID_MAX = 100
const NOTHING = new Uint8Array(0)

/**
 * Settles when the whole dump has been written. Rejects with DUMP_FAILED if pg_dump says no, and
 * with what `write` rejects with.
 */
export async function runPgDump(job: PgDumpJob): Promise<void> {
  const { port1: port, port2 } = new MessageChannel()
  const signal = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  const words = [`--dbname=${job.tenant}`, '--username=postgres', `--file=${OUTPUT_DEVICE}`]
  const task: PgDumpTask = { words: [...words, '--no-sync', ...job.options], port: port2, signal }
  const worker = new Worker(besideModule(import.meta.url, './pg-dump-thread'), {
    workerData: task,
    transferList: [port2],
  })
  const said: string[] = []
  try {
    const exitCode = await new Promise<number>((resolve, reject) => {
      worker.once('error', reject)
      worker.once('exit', () => reject(new Error('the thread of pg_dump has ended')))
      const serve = servant(job)
      port.on('message', (request: PgDumpRequest) => {
        if (request.kind === 'ended') return resolve(request.exitCode)
        if (request.kind === 'said') return said.push(request.line)
        serve(request).then((answer) => {
          port.postMessage(answer)
          Atomics.store(signal, 0, 1)
          Atomics.notify(signal, 0)
        }, reject)
      })
    })
    if (exitCode !== 0) throw failed(said)
    for (const line of said.slice(0, LINES_SAID_MAX)) job.remark(line)
  } finally {
    port.close()
    await worker.terminate()
  }
}

type Errand = Exclude<PgDumpRequest, { readonly kind: 'said' | 'ended' }>

/** Does what pg_dump cannot wait for. */
function servant({ connection, write }: PgDumpJob): (errand: Errand) => Promise<Uint8Array> {
  /** What it hears before it hears the server again. */
  let prompted: AsyncIterator<Uint8Array> | undefined
  let isGreeted = false
  const send = async (bytes: Uint8Array): Promise<void> => {
    const table = tableOf(bytes)
    // Its startup packet needs no other answer: it is somebody's who is in.
    if (!isGreeted) prompted = once(connection.greeting)
    else if (table) prompted = tableInParts(connection, table)
    else await connection.write(bytes)
    isGreeted = true
  }
  return async (errand) => {
    if (errand.kind === 'write') await write(errand.bytes)
    if (errand.kind === 'send') await send(errand.bytes)
    if (errand.kind !== 'receive') return NOTHING
    const next = await prompted?.next()
    if (next && next.done !== true) return next.value
    prompted = undefined
    return (await connection.read()) ?? NOTHING
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

function failed(said: readonly string[]): PgnapError {
  const [message = 'pg_dump failed', ...rest] = said
    .slice(0, LINES_SAID_MAX)
    .map((line) => line.replace(/^pg_dump: (?:error|detail): /, ''))
  const detail = rest.join('\n')
  return new PgnapError('DUMP_FAILED', message, detail === '' ? {} : { detail })
}
