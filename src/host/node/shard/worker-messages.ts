/** What the main thread and a shard's thread say to each other beside calls and connections. */
import type { MessagePort } from 'node:worker_threads'
import type { TenantName } from '../../../base/ids.ts'
import type { InterruptFlags } from '../../../engine/interrupts.ts'
import type { HandoverEnds } from '../handover/protocol.ts'
import type { EngineSettings, ShardSettings } from './shard.ts'

/**
 * `begin` makes a thread a shard. `prepare` may come before it: the engine that the shard will
 * have, if its files prove to be what they should be. If not, there will be no `begin`.
 */
export type ToWorker =
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

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'slotCreated'; readonly slotNo: number; readonly flags: InterruptFlags }
  | { readonly kind: 'slotDiscarded'; readonly slotNo: number }
  | { readonly kind: 'tenantMade' | 'tenantRemoved'; readonly tenant: TenantName }
