/**
 * A shard's thread. Started at once with its channels, so that loading modules overlaps with the
 * main thread's loading of the engine; gets its settings when they are known.
 */
import { flushCompileCache } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../../base/assert.ts'
import type { Peer } from '../../../front/control.ts'
import { systemClock } from '../clock.ts'
import { receiveConnections } from '../handover/receive-connections.ts'
import { openLog } from '../log.ts'
import { systemRandom } from '../random.ts'
import { serveApi } from './rpc.ts'
import { Shard } from './shard.ts'
import type { FromWorker, ToWorker, WorkerData } from './worker-messages.ts'

/** By then the first tenants have been served, and everything has been loaded. */
const COMPILE_CACHE_AFTER_MS = 2_000

const { ends, api } = workerData as WorkerData
const main = parentPort
assert(main, 'a shard runs in a worker thread')
const tell = (message: FromWorker): void => main.postMessage(message)

// A failure is an unhandled rejection, which ends the thread: the supervisor hears of it that way.
main.once('message', (message: ToWorker) => void start(message))

async function start({ settings }: ToWorker): Promise<void> {
  const shard = await Shard.create(settings, {
    clock: systemClock,
    random: systemRandom,
    log: openLog({ level: settings.config.logLevel }),
    slotWatcher: {
      slotCreated: (slotNo, flags) => tell({ kind: 'slotCreated', slotNo, flags }),
      slotDiscarded: (slotNo) => tell({ kind: 'slotDiscarded', slotNo }),
    },
  })
  serveApi(api, shard)
  receiveConnections({ ends, clock: systemClock }, (link, peer) =>
    shard.connect(link, peer as Peer),
  )
  tell({ kind: 'ready' })
  // A thread is terminated, not left to end: its parsed code would not be kept otherwise.
  systemClock.setTimer(COMPILE_CACHE_AFTER_MS, flushCompileCache)
}
