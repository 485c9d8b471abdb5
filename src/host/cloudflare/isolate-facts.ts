/**
 * How full an isolate is, as `GET /v1/tenants/NAME` tells it of the one in which that object lives,
 * and `GET /v1/pool` of the one that answers; docs/memory.md explains.
 */
import type { ShareCounters } from '../../engine/slot-share.ts'
import type { PoolFacts } from '../../front/control.ts'

/** In bytes; what grows and shrinks is the share's to tell. */
export interface IsolateMemory {
  /** Files outside PGDATA. */
  readonly bundle: number
  readonly template: number
  /** Template and images as they came, compressed, which the platform keeps. */
  readonly compressed: number
  /** The memory that slots are compared with. */
  readonly base: number
  /** Where they are compared. */
  readonly scratch: number
  /** What turns the base into an instance in which Postgres has not started. */
  readonly preMain: number
  /** Files of extensions. */
  readonly extensions: number
}

/** What the isolate of an object has in memory, in bytes, and what has happened in it. */
export interface IsolateFacts {
  readonly id: string
  /** Since it was first asked for a tenant. */
  readonly ageMs: number
  /** All of the below: what docs/memory.md accounts for, of the 128 MB of an isolate. */
  readonly accountedBytes: number
  readonly memory: IsolateMemory
  /** Templates of earlier builds. */
  readonly earlierTemplateBytes: number
  readonly slotBytes: number
  /** Pages of the tenant in the slot, and the memory that its answers are collected in. */
  readonly heldBytes: number
  /** What clients have sent and not ended. */
  readonly clientBytes: number
  /** Slots of objects that have their own (`/traditional` and others), with what is beside them. */
  readonly ownSlotBytes: number
  /** Memory of images that were used up, for those that come. */
  readonly spareBytes: number
  readonly imageCount: number
  readonly imageBytes: number
  readonly counters: ShareCounters
}

/** What `GET /v1/pool` answers on Workers. */
export interface IsolatePoolFacts extends PoolFacts {
  /** Undefined: no tenant has been asked for in the isolate that answers. */
  readonly isolate: IsolateFacts | undefined
}
