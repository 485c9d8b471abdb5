/** What the main thread and a shard's thread say to each other beside calls and connections. */
import type { MessagePort } from 'node:worker_threads'
import type { TenantName } from '../../../base/ids.ts'
import type { InterruptFlags } from '../../../engine/interrupts.ts'
import type { Config } from '../config.ts'
import type { EngineCode } from '../engine/load-engine.ts'
import type { HandoverEnds } from '../handover/protocol.ts'
import type { ShardSettings } from './shard.ts'
import type { EngineSettings } from './shard-engine.ts'

/**
 * `begin` makes a thread a shard. `load` and `prepare` may come before it, in this order: the
 * engine that the shard will have, if its files prove to be what they should be. If not, there will
 * be no `begin`. Whoever wants to connect is heard after `serve`.
 */
export type ToWorker =
  | { readonly kind: 'load'; readonly code: EngineCode; readonly config: Config }
  | ({ readonly kind: 'prepare' } & EngineSettings)
  | {
      readonly kind: 'begin'
      readonly settings: ShardSettings
      readonly ends: HandoverEnds
      /** Calls of `ShardApi` come here. */
      readonly api: MessagePort
      /** Calls of `DatabaseService` go there. */
      readonly databases: MessagePort
      /** Of a `ThreadSign`. */
      readonly sign: SharedArrayBuffer
    }
  | { readonly kind: 'serve' }

export type FromWorker =
  /** Its code is there; the first thing that it says. */
  | { readonly kind: 'loaded' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'slotCreated'; readonly slotNo: number; readonly flags: InterruptFlags }
  | { readonly kind: 'slotDiscarded'; readonly slotNo: number }
  | { readonly kind: 'tenantMade' | 'tenantRemoved'; readonly tenant: TenantName }
