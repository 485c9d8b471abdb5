/**
 * Real clients for integration tests: psql, pgbench and node-postgres. Programs are run
 * asynchronously, because a test may have the server in its own process.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Client, type ClientConfig } from 'pg'
import type { Outcome } from './server.ts'

/** The ports of a server, wherever it runs. */
export interface Target {
  readonly port: number
}

export interface RunOptions {
  readonly input?: string
  readonly environment?: Readonly<Record<string, string>>
}

/** A client of Debian's packages, where it is installed. */
export type ClientProgram = 'psql' | 'pgbench'

const PACKAGE_OF: Readonly<Record<ClientProgram, string>> = {
  psql: 'postgresql-client',
  pgbench: 'postgresql-contrib',
}

/** Major version of a client; undefined where there is none. */
export function majorVersionOf(program: ClientProgram): number | undefined {
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' })
  const major = /(\d+)(?:\.\d+)?/.exec(stdout ?? '')?.[1]
  return status === 0 && major !== undefined ? Number(major) : undefined
}

/** For `test(name, { skip })`: false, or why the test cannot run here. */
export function missing(program: ClientProgram): string | false {
  if (majorVersionOf(program) !== undefined) return false
  return `${program} is not installed (Debian: apt-get install ${PACKAGE_OF[program]})`
}

/**
 * Starts a client program against one tenant; PG* of the caller's environment means nothing to it.
 */
export function spawnClient(
  program: ClientProgram,
  words: readonly string[],
  { port }: Target,
  tenant: string,
  environment: RunOptions['environment'] = {},
): ChildProcess {
  const { PATH = '', HOME = '' } = process.env
  const PG = {
    PGHOST: '127.0.0.1',
    PGPORT: String(port),
    PGUSER: 'postgres',
    PGDATABASE: tenant,
    PGCLIENTENCODING: 'UTF8',
    PGCONNECT_TIMEOUT: '20',
  }
  return spawn(program, words, { env: { PATH, HOME, LC_ALL: 'C.UTF-8', ...PG, ...environment } })
}

/** Runs a client program to its end. */
export async function runClient(
  program: ClientProgram,
  words: readonly string[],
  target: Target,
  tenant: string,
  { input = '', environment }: RunOptions = {},
): Promise<Outcome> {
  const child = spawnClient(program, words, target, tenant, environment)
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  // A client that refuses to start does not read what it is sent.
  child.stdin?.on('error', () => {})
  child.stdin?.end(input)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status, signal) => resolve({ status, signal, stdout, stderr }))
  })
}

/** psql without a start-up file, unaligned, rows only, fed from stdin. */
export function psql(target: Target, tenant: string, input: string): Promise<Outcome> {
  return runClient('psql', ['-XAtq'], target, tenant, { input })
}

export interface PgConnection extends AsyncDisposable {
  readonly client: Client
  /** First column of all rows. */
  column(sql: string, parameters?: unknown[]): Promise<unknown[]>
  /** First column of the first row. */
  value(sql: string, parameters?: unknown[]): Promise<unknown>
}

/**
 * A connected node-postgres client, whose end by the server is not an error of the test process.
 */
export async function connectPg(
  { port }: Target,
  tenant: string,
  config: ClientConfig = {},
): Promise<PgConnection> {
  const client = new Client({
    host: '127.0.0.1',
    port,
    user: 'postgres',
    database: tenant,
    ...config,
  })
  client.on('error', () => {})
  await client.connect()
  const column = async (sql: string, values: unknown[] = []): Promise<unknown[]> => {
    const { rows } = await client.query<unknown[]>({ text: sql, values, rowMode: 'array' })
    return rows.map(([first]) => first)
  }
  return {
    client,
    column,
    value: async (sql, parameters) => (await column(sql, parameters))[0],
    [Symbol.asyncDispose]: () => client.end(),
  }
}

/** What the server has told a client to be the process id of its backend. */
export function processIdOf({ client }: PgConnection): number {
  return (client as unknown as { processID: number }).processID
}

const CANCEL_REQUEST = 80_877_102

/**
 * The request that cancels what a client runs or waits for.
 * @param wrong what is wrong about the key, as bits of it. Default: nothing
 */
export function cancelRequestOf(connection: PgConnection, wrong = 0): Buffer {
  const { secretKey } = connection.client as unknown as { secretKey: number }
  const words = [16, CANCEL_REQUEST, processIdOf(connection), secretKey ^ wrong]
  const request = Buffer.alloc(16)
  for (const [index, word] of words.entries()) {
    request.writeInt32BE(word, index * 4)
  }
  return request
}

/** Sends {@link cancelRequestOf} on a connection of its own, as every driver does. */
export async function cancelPg(
  { port }: Target,
  connection: PgConnection,
  { wrong = 0 }: { readonly wrong?: number } = {},
): Promise<void> {
  const request = cancelRequestOf(connection, wrong)
  const socket = connect(port, '127.0.0.1')
  socket.end(request)
  socket.resume()
  await once(socket, 'close')
}

/** The error that `action` rejects with, with the fields of Postgres. */
export async function failureOf(action: Promise<unknown>): Promise<Failure> {
  try {
    await action
  } catch (error) {
    return error as Failure
  }
  throw new Error('it should have failed')
}

export interface Failure extends Error {
  /** SQLSTATE, if the server said no. */
  readonly code?: string
  readonly detail?: string
  readonly hint?: string
  readonly position?: string
  readonly severity?: string
}
