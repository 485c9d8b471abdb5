/** What a run of the comparison has measured, as data: what every report is made of. */
import type { Summary } from '../statistics.ts'
import type { MachineFacts } from '../machine.ts'

/** Times in milliseconds, above a bare ping of an object, measured from outside. */
export interface ArchitectureTimes {
  /** First statement of a fresh runtime, of a tenant that was there before. */
  readonly first: Summary
  /** First statement of a tenant that is in no memory, in a runtime that has served another. */
  readonly cold: Summary
  /** A point select of one tenant, again and again. */
  readonly warm: Summary
  /** The same of four tenants by turns. */
  readonly turns: Summary
  /** An insert of one row, acknowledged. */
  readonly write: Summary
}

export type TimeName = keyof ArchitectureTimes

/** Resident memory of the runtime's process, in bytes, all its isolates together. */
export interface ArchitectureMemory {
  /** Before anybody has asked. */
  readonly idle: number
  /** What the first tenant adds: the engine, mostly. */
  readonly first: number
  /** What each further tenant adds. */
  readonly further: number
}

export interface ArchitectureResult {
  readonly name: string
  readonly what: string
  readonly durability: string
  readonly times: ArchitectureTimes
  readonly memory: ArchitectureMemory
  /** Of a Worker with this architecture alone, under gzip, and of the one that computes for it. */
  readonly bundle: { readonly ownBytes: number; readonly computeBytes: number }
}

export interface BundleResult {
  readonly name: string
  readonly gzipBytes: number
  readonly bytes: number
}

/** By its own account; see `accounted.ts`. */
export interface AccountedMemory {
  /** In one isolate, asked by turns. */
  readonly tenants: number
  /** The most that was ever in it. */
  readonly bytes: number
}

export interface ComparisonResult {
  readonly at: string
  readonly smoke: boolean
  readonly machine: MachineFacts
  readonly rounds: number
  readonly tenants: number
  /** One HTTP request with one ping of an object, and one more ping. */
  readonly ping: { readonly http: Summary; readonly rpc: Summary }
  readonly bundles: readonly BundleResult[]
  /** Of the default Worker. */
  readonly accounted: AccountedMemory
  readonly architectures: readonly ArchitectureResult[]
}
