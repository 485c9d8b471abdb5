/**
 * Moves one tenant from its shard to another, as a conversation with both. Whatever fails, the
 * tenant ends with exactly one owner:
 *
 *     the old one says no, or its thread ends     it stays: that thread, or the next, has it
 *     the new one's thread ends                   the old one gets it back
 *     that one's has ended, too                   its next thread learns it from the table
 *
 * A thread that has ended holds nothing: its stores were closed with it. One that only does not
 * answer is waited for, since it may have the store open; the supervisor ends it in time.
 */
import type { ShardIndex, TenantName } from '../base/ids.ts'
import type { Assignments } from './assignments.ts'

/** What a move asks of a shard. A call that rejects means that its thread has ended. */
export interface MoveParty {
  /**
   * Lets go of a tenant: takes it out of its slot, puts its image on disk, closes its store, and
   * does not open it any more. False: somebody uses it, and it stays.
   */
  release(tenant: string): Promise<boolean>
  /** The tenant is this shard's from now on. */
  accept(tenant: string): Promise<void>
}

export type MoveOutcome = 'moved' | 'refused' | 'failed'

export interface MoveOptions {
  readonly tenant: TenantName
  readonly to: ShardIndex
  /** A shard as it is when it is asked: its thread may be another than a moment ago. */
  readonly at: (shard: ShardIndex) => MoveParty
}

/** Does not reject. */
export async function moveTenant(
  assignments: Assignments,
  { tenant, to, at }: MoveOptions,
): Promise<MoveOutcome> {
  const move = assignments.begin(tenant, to)
  if (!move) return 'refused'
  let owner = move.from
  try {
    if (!(await assignments.quiet(move))) return 'refused'
    if (!(await at(move.from).release(tenant))) return 'refused'
    assignments.letGo(move)
    try {
      await at(to).accept(tenant)
      owner = to
      return 'moved'
    } catch {
      await at(move.from).accept(tenant)
      return 'failed'
    }
  } catch {
    return 'failed'
  } finally {
    assignments.end(move, owner)
  }
}
