/**
 * A neighbour that gives its server no rest: many connections to one tenant, each of which asks
 * again as soon as it has its answer. It is a process of its own, of low priority: what its
 * victims are measured by is the server's fairness, not the machine's.
 *
 * Run as a program it takes port, user, tenant, number of connections and a statement, and prints a
 * line when all of them are busy. With each line that it reads it stops asking, or begins again: it
 * answers with the count of answers it has had so far when the last one is there, or when all are
 * busy again. It ends with its standard input, and prints that count.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants, setPriority } from 'node:os'
import { createInterface } from 'node:readline'
import { Connection } from './wire/connection.ts'
import { queryMessage } from './wire/messages.ts'

export interface NeighbourOptions {
  readonly port: number
  readonly user: string
  readonly tenant: string
  readonly connectionCount: number
  readonly sql: string
}

export interface Neighbour extends AsyncDisposable {
  /** Lets its server be, still connected; how many answers it has had. */
  rest(): Promise<number>
  /** Is busy again; how many answers it has had. */
  goOn(): Promise<number>
  /** Ends it; how many answers it has had, those with errors included. */
  stop(): Promise<number>
}

/** Starts one; it is busy when this resolves. */
export async function startNeighbour(options: NeighbourOptions): Promise<Neighbour> {
  const { port, user, tenant, connectionCount, sql } = options
  const words = [import.meta.filename, String(port), user, tenant, String(connectionCount), sql]
  const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const busy = await lines.next()
  assert.equal(busy.value, 'busy')
  const count = async (): Promise<number> => Number((await lines.next()).value)
  const turn = async (): Promise<number> => {
    child.stdin.write('\n')
    return await count()
  }
  const stop = async (): Promise<number> => {
    child.stdin.end()
    const answerCount = await count()
    await ended
    return answerCount
  }
  return {
    rest: turn,
    goOn: turn,
    stop,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null) child.kill('SIGKILL')
      await ended
    },
  }
}

async function main(words: string[]): Promise<void> {
  const [port, user = '', database = '', connectionCount, sql = ''] = words
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
  const address = { port: Number(port), user, database }
  const message = queryMessage(sql)
  let answerCount = 0
  const open = (): Promise<Connection> => Connection.open(address, { keepRows: false })
  const connections = await Promise.all(Array.from({ length: Number(connectionCount) }, open))
  let busy = true
  let openCount = 0
  const ask = (connection: Connection): void => {
    openCount++
    connection.send(message, () => {
      openCount--
      answerCount++
      if (busy) ask(connection)
      else if (openCount === 0) console.log(answerCount)
    })
  }
  connections.forEach(ask)
  console.log('busy')
  for await (const _ of createInterface(process.stdin)) {
    busy = !busy
    if (!busy) continue
    connections.forEach(ask)
    console.log(answerCount)
  }
  process.stdout.write(`${answerCount}\n`, () => process.exit(0))
}

if (import.meta.main) await main(process.argv.slice(2))
