/**
 * The numbers that clients know as the process ids of their backends. They lead a cancel request to
 * the shard that gave them.
 */
import type { Random } from '../../../base/random.ts'

const PROCESS_ID_MAX = 2 ** 31 - 1

/** A number in [1, 2^31) for a client of one shard. */
export function newProcessId(random: Random, index: number, shardCount: number): number {
  const turns = Math.floor(PROCESS_ID_MAX / shardCount) - 1
  return (1 + random.below(turns)) * shardCount + index
}

/** Index of the shard that a client's process id was given by. */
export function shardOfProcess(processId: number, shardCount: number): number {
  return processId % shardCount
}
