/**
 * The worker thread of the handover's tests: a tiny line protocol over the links it receives, with
 * one command for each way in which a connection can be used or ended.
 */
import { createHash } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../src/host/node/clock.ts'
import type { HandoverEnds } from '../../src/host/node/handover/protocol.ts'
import { receiveConnections } from '../../src/host/node/handover/receive-connections.ts'
import type { Link, LinkReceiver } from '../../src/front/wire/link.ts'
import { patternBytes } from './handover-pattern.ts'

interface ShardData {
  readonly ends: HandoverEnds
  readonly lingerMs?: number
}

const links = new Set<Link>()
let drainedCount = 0
let closedCount = 0

class LineReceiver implements LinkReceiver {
  readonly #link: Link
  readonly #name: string
  #line = ''
  #uploadLeft = 0
  #hash = createHash('sha256')

  constructor(link: Link, name: string) {
    this.#link = link
    this.#name = name
    links.add(link)
  }

  receive(bytes: Uint8Array): void {
    if (this.#uploadLeft > 0) {
      this.#upload(bytes)
      return
    }
    this.#line += Buffer.from(bytes).toString()
    for (let end = this.#line.indexOf('\n'); end >= 0; end = this.#line.indexOf('\n')) {
      const [verb, argument = ''] = this.#line.slice(0, end).split(' ')
      this.#line = this.#line.slice(end + 1)
      this.#command(verb ?? '', argument)
    }
  }

  linkDrained(): void {
    drainedCount++
  }

  linkClosed(): void {
    closedCount++
    links.delete(this.#link)
  }

  #command(verb: string, argument: string): void {
    if (verb === 'echo') this.#link.write(Buffer.from(`${this.#name}:${argument}\n`))
    if (verb === 'big') this.#link.write(patternBytes(Number(argument)))
    if (verb === 'bye') this.#link.end(Buffer.from(`${this.#name}:bye\n`))
    if (verb === 'pausebye') {
      this.#link.pauseReading()
      this.#link.end(Buffer.from(`${this.#name}:bye\n`))
    }
    if (verb === 'bigbye') this.#link.end(patternBytes(Number(argument)))
    if (verb === 'drop') this.#link.destroy()
    if (verb === 'upload') {
      this.#uploadLeft = Number(argument)
      this.#link.write(Buffer.from('ready\n'))
    }
  }

  /** Takes one piece per turn of the event loop: reading is paused and resumed all the time. */
  #upload(bytes: Uint8Array): void {
    this.#hash.update(bytes)
    this.#uploadLeft -= bytes.length
    if (this.#uploadLeft === 0) this.#link.write(Buffer.from(`${this.#hash.digest('hex')}\n`))
    this.#link.pauseReading()
    setImmediate(() => this.#link.resumeReading())
  }
}

const { ends, lingerMs } = workerData as ShardData
const received = receiveConnections(
  { ends, clock: systemClock, ...(lingerMs === undefined ? {} : { lingerMs }) },
  (link, route) => new LineReceiver(link, (route as { name: string }).name),
)

parentPort?.on('message', (message: { gate?: SharedArrayBuffer }) => {
  if (message.gate) {
    // Stands still, so that what is offered meanwhile is never adopted.
    Atomics.store(new Int32Array(message.gate), 0, 1)
    Atomics.notify(new Int32Array(message.gate), 0)
    Atomics.wait(new Int32Array(message.gate), 0, 1)
    return
  }
  let bufferedBytes = 0
  for (const link of links) bufferedBytes += link.bufferedBytes
  const { openCount } = received
  parentPort?.postMessage({ openCount, bufferedBytes, drainedCount, closedCount })
})
