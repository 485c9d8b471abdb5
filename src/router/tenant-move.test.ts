/**
 * Explores moves between shards: random interleavings of calls, connections, naps, wakes that
 * nobody asked for, moves, threads that die, and messages that overtake each other. The world is in
 * test/support/move-world.ts; it is checked after each step and at the end, when it has come to
 * rest.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { MoveWorld } from '../../test/support/move-world.ts'

const steps = fc.array(fc.nat({ max: 10_000 }), { minLength: 10, maxLength: 60 })

async function play(world: MoveWorld, choices: readonly number[]): Promise<void> {
  const path: string[] = []
  try {
    for (const choice of choices) {
      const actions = world.actions()
      const action = actions[choice % actions.length]
      if (!action) break
      path.push(action.name)
      action.run()
      // The main thread goes on in microtasks: they are done before the next message comes.
      await turn()
      world.check()
    }
    path.push('settle')
    await world.settle()
  } catch (error) {
    throw new Error(`after: ${path.join(', ')}`, { cause: error })
  } finally {
    world.close()
  }
}

test('a tenant that moves has one owner at most, whatever happens, and loses nothing', async () => {
  const met = { moved: 0, refused: 0, failed: 0, TENANT_MOVED: 0, SHARD_LOST: 0, commits: 0 }
  await fc.assert(
    fc.asyncProperty(steps, async (choices) => {
      const world = new MoveWorld({ rude: false })
      await play(world, choices)
      for (const outcome of world.outcomes) met[outcome]++
      for (const code of world.errors) if (code in met) met[code as keyof typeof met]++
      met.commits += world.durable.length
    }),
    { numRuns: 2_000 },
  )
  // A world in which none of these happens would prove nothing.
  for (const [what, count] of Object.entries(met)) assert.ok(count > 100, `${what}: ${count}`)
})

test('even shards that open what is not theirs cannot both commit: the epoch says no', async () => {
  let fenced = 0
  let commits = 0
  await fc.assert(
    fc.asyncProperty(steps, async (choices) => {
      const world = new MoveWorld({ rude: true })
      await play(world, choices)
      fenced += world.errors.filter((code) => code === 'STORE_FENCED').length
      commits += world.durable.length
    }),
    { numRuns: 1_000 },
  )
  assert.ok(fenced > 20 && commits > 1_000, `${fenced} refused, ${commits} committed`)
})
