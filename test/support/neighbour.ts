/**
 * A neighbour that gives its server no rest: many connections to one tenant, each of which asks
 * again as soon as it has its answer. It is a process of its own, of low priority: what its
 * victims are measured by is the server's fairness, not the machine's.
 *
 * Run as a program it takes port, tenant, number of connections and a statement, prints a line when
 * all of them are busy, and ends with its standard input. At the end it prints how many answers it
 * had.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants, setPriority } from 'node:os'
import { createInterface } from 'node:readline'
import { Connection } from '../../bench/wire/connection.ts'
import { queryMessage } from '../../bench/wire/messages.ts'

export interface NeighbourOptions {
  readonly port: number
  readonly tenant: string
  readonly connectionCount: number
  readonly sql: string
}

export interface Neighbour extends AsyncDisposable {
  /** Ends it; how many answers it has had, those with errors included. */
  stop(): Promise<number>
}

/** Starts one; it is busy when this resolves. */
export async function startNeighbour(options: NeighbourOptions): Promise<Neighbour> {
  const { port, tenant, connectionCount, sql } = options
  const words = [import.meta.filename, String(port), tenant, String(connectionCount), sql]
  const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const busy = await lines.next()
  assert.equal(busy.value, 'busy')
  const stop = async (): Promise<number> => {
    child.stdin.end()
    const count = await lines.next()
    await ended
    return Number(count.value)
  }
  return {
    stop,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null) child.kill('SIGKILL')
      await ended
    },
  }
}

async function main([port, database = '', connectionCount, sql = '']: string[]): Promise<void> {
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
  const address = { port: Number(port), user: 'postgres', database }
  const message = queryMessage(sql)
  let answerCount = 0
  const open = (): Promise<Connection> => Connection.open(address, { keepRows: false })
  const connections = await Promise.all(Array.from({ length: Number(connectionCount) }, open))
  for (const connection of connections) {
    const ask = (): void => connection.send(message, again)
    const again = (): void => {
      answerCount++
      ask()
    }
    ask()
  }
  console.log('busy')
  process.stdin.resume()
  await once(process.stdin, 'end')
  process.stdout.write(`${answerCount}\n`, () => process.exit(0))
}

if (import.meta.main) await main(process.argv.slice(2))
