/** How full an isolate is, as `GET /v1/tenants/NAME` tells it; docs/memory.md explains. */
import type { ShareCounters } from '../../engine/slot-share.ts'

/** In bytes; what grows and shrinks is the share's to tell. */
export interface IsolateMemory {
  /** Files outside PGDATA. */
  readonly bundle: number
  readonly template: number
  /** Template and images as they came, compressed, which the platform keeps. */
  readonly compressed: number
  /** The memory that slots are compared with. */
  readonly base: number
  /** What turns the base into an instance in which Postgres has not started. */
  readonly preMain: number
  /** Files of extensions. */
  readonly extensions: number
}

/** What the isolate of an object has in memory, in bytes, and what has happened in it. */
export interface IsolateFacts {
  readonly memory: IsolateMemory
  readonly slotBytes: number
  /** Memory of images that were used up, for those that come. */
  readonly spareBytes: number
  readonly imageCount: number
  readonly imageBytes: number
  readonly counters: ShareCounters
}
