/** What `worker/bench-worker.ts` is asked: statements of an architecture, one after the other. */
export interface BenchRequest {
  readonly architecture: string
  /** Asked by turns. */
  readonly tenants: readonly string[]
  readonly sql: string
  readonly count: number
}
