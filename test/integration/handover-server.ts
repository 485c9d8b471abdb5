/** A server for the handover's tests: real sockets, real threads, routes in the first line. */
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { systemClock } from '../../src/host/node/clock.ts'
import { createHandover } from '../../src/host/node/handover/handover.ts'
import type { Handover, HandoverMode } from '../../src/host/node/handover/handover.ts'
import { readRoute } from '../../src/host/node/handover/read-route.ts'
import type { Peeked } from '../../src/host/node/handover/read-route.ts'

export const LAST_BYTES: Uint8Array = Buffer.from('FATAL 57P01\n')

export interface ShardStatistics {
  readonly openCount: number
  readonly bufferedBytes: number
  readonly drainedCount: number
  readonly closedCount: number
}

export interface TestServer extends AsyncDisposable {
  readonly port: number
  readonly handover: Handover
  statistics(shardIndex: number): Promise<ShardStatistics>
  /** Makes a shard's thread stand still; it has when this returns. */
  freeze(shardIndex: number): Promise<void>
  /** Ends a shard's thread, tells the handover, and starts another in its place. */
  killShard(shardIndex: number): Promise<void>
}

interface Route {
  readonly name: string
  readonly shardIndex: number
}

/** First line: NAME SHARD. A question mark is answered with `N`, as a request for TLS is. */
function peek(bytes: Uint8Array): Peeked<Route> {
  if (bytes[0] === 63) return { kind: 'reply', reply: Buffer.from('N'), consumedBytes: 1 }
  const text = Buffer.from(bytes).toString()
  const end = text.indexOf('\n')
  if (end < 0) return undefined
  const [name = '', shard = ''] = text.slice(0, end).split(' ')
  if (shard === '') return { kind: 'refuse', lastBytes: Buffer.from('no shard\n') }
  return { kind: 'route', route: { name, shardIndex: Number(shard) } }
}

export async function startServer(
  mode: HandoverMode,
  shardCount = 2,
  lingerMs?: number,
): Promise<TestServer> {
  const linger = lingerMs === undefined ? {} : { lingerMs }
  const handover = createHandover({ mode, clock: systemClock, ...linger })
  const workers: Worker[] = []
  const startShard = (shardIndex: number): void => {
    const ends = handover.attachShard(shardIndex)
    workers[shardIndex] = new Worker(new URL('./handover-shard.ts', import.meta.url), {
      workerData: { ends, ...linger },
      transferList: [ends.port],
    })
  }
  for (let shardIndex = 0; shardIndex < shardCount; shardIndex++) startShard(shardIndex)
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    readRoute({ socket, clock: systemClock, peek, timeoutMs: 20_000 }, (route, bytes) => {
      const rest = bytes.subarray(bytes.indexOf(10) + 1)
      if (!handover.hand(socket, route.shardIndex, { name: route.name }, rest)) socket.destroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const worker = (shardIndex: number): Worker => {
    const found = workers[shardIndex]
    if (!found) throw new Error(`no shard ${shardIndex}`)
    return found
  }
  const started: TestServer = {
    port: (server.address() as AddressInfo).port,
    handover,
    statistics: async (shardIndex) => {
      const answer = once(worker(shardIndex), 'message')
      worker(shardIndex).postMessage({})
      return ((await answer) as [ShardStatistics])[0]
    },
    freeze: async (shardIndex) => {
      const gate = new Int32Array(new SharedArrayBuffer(4))
      worker(shardIndex).postMessage({ gate: gate.buffer })
      const wait = Atomics.waitAsync(gate, 0, 0)
      if (wait.async) await eventually(() => Atomics.load(gate, 0) === 1)
    },
    killShard: async (shardIndex) => {
      const exit = once(worker(shardIndex), 'exit')
      await worker(shardIndex).terminate()
      await exit
      handover.shardDied(shardIndex, LAST_BYTES)
      startShard(shardIndex)
    },
    [Symbol.asyncDispose]: async () => {
      handover.close()
      server.close()
      await Promise.all(workers.map((each) => each.terminate()))
    },
  }
  for (let shardIndex = 0; shardIndex < shardCount; shardIndex++) {
    await started.statistics(shardIndex)
  }
  return started
}

/** Waits until `condition` holds; the test's own time limit is the only limit. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(2)
}

/** Open descriptors of this process, all threads; 0 where there is no /proc. */
export function descriptorCount(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0
}
