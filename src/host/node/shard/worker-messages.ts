/** What the main thread and a shard's thread say to each other beside calls and connections. */
import type { MessagePort } from 'node:worker_threads'
import type { InterruptFlags } from '../../../engine/interrupts.ts'
import type { HandoverEnds } from '../handover/protocol.ts'
import type { ShardSettings } from './shard.ts'

export interface WorkerData {
  readonly ends: HandoverEnds
  /** Calls of `ShardApi` come here. */
  readonly api: MessagePort
}

export interface ToWorker {
  readonly settings: ShardSettings
}

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'slotCreated'; readonly slotNo: number; readonly flags: InterruptFlags }
  | { readonly kind: 'slotDiscarded'; readonly slotNo: number }
