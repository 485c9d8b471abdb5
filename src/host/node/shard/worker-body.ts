/**
 * A shard's thread. Started at once, so that loading modules overlaps with the main thread's
 * loading of the engine; which shard it is, it hears when the settings are known.
 */
import { parentPort } from 'node:worker_threads'
import { assert } from '../../../base/assert.ts'
import { systemClock } from '../clock.ts'
import type { Config } from '../config.ts'
import { receiveConnections } from '../handover/receive-connections.ts'
import { helpToVerify } from '../engine/asset-cache.ts'
import { loadFactory } from '../engine/stock.ts'
import { openLog } from '../log.ts'
import { systemRandom } from '../random.ts'
import type { DatabaseService } from '../../../pool/database-service.ts'
import { ApiCaller, serveApi } from './rpc.ts'
import type { BegunEngine } from '../engine/load-engine.ts'
import { type Newcomer, Shard } from './shard.ts'
import {
  beginSlot,
  type EngineDependencies,
  type EngineSettings,
  type PreparedEngine,
  prepareEngine,
} from './shard-engine.ts'
import { ThreadSign } from './thread-sign.ts'
import type { FromWorker, ToWorker } from './worker-messages.ts'

const main = parentPort
assert(main, 'a shard runs in a worker thread')
const tell = (message: FromWorker): void => main.postMessage(message)

// What fails here or later ends the thread: the supervisor hears of it that way.
// The largest script that an engine needs; it is loaded while this thread has nothing to do yet.
loadFactory()
tell({ kind: 'loaded' })

let begun: Promise<BegunEngine> | undefined
let preparing: Promise<PreparedEngine> | undefined
const folderReady = Promise.withResolvers<void>()
main.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'load':
      begun = beginSlot(message.code, message.config, dependenciesOf(message))
      // What cannot be made of unverified files, is no failure until they are verified.
      begun.catch(() => {})
      return
    case 'prepare':
      preparing = prepare(message)
      preparing.then(({ slot }) => helpVerify(message, slot)).catch(() => {})
      return
    case 'begin':
      void start(message)
      return
    case 'serve':
      folderReady.resolve()
  }
})

async function prepare(message: ToWorker & { kind: 'prepare' }): Promise<PreparedEngine> {
  return prepareEngine(message, dependenciesOf(message), await begun)
}

/** Until the main thread has verified the engine's files, this one has nothing else to do. */
async function helpVerify({ engine }: EngineSettings, slot: Promise<unknown>): Promise<void> {
  await slot
  await helpToVerify(engine.assets)
}

function dependenciesOf({ config }: { readonly config: Config }): EngineDependencies {
  return { clock: systemClock, random: systemRandom, log: openLog({ level: config.logLevel }) }
}

async function start({
  settings,
  ends,
  api,
  databases,
  sign,
}: ToWorker & { kind: 'begin' }): Promise<void> {
  // Without assets, its memory is let go of: they had yet to be built.
  begun = undefined
  const shard = await Shard.create(settings, {
    ...dependenciesOf(settings),
    prepared: await preparing,
    databases: new ApiCaller<DatabaseService>(databases).remote,
    tenantWatcher: {
      made: (tenant) => tell({ kind: 'tenantMade', tenant }),
      removed: (tenant) => tell({ kind: 'tenantRemoved', tenant }),
    },
    slotWatcher: {
      sign: new ThreadSign(sign, settings.config.neighbourWaitMs),
      slotCreated: (slotNo, flags) => tell({ kind: 'slotCreated', slotNo, flags }),
      slotDiscarded: (slotNo) => tell({ kind: 'slotDiscarded', slotNo }),
    },
  })
  await folderReady.promise
  serveApi(api, shard)
  receiveConnections({ ends, clock: systemClock }, (link, newcomer) =>
    shard.connect(link, newcomer as Newcomer),
  )
  tell({ kind: 'ready' })
}
