/** The time that clients see: with microseconds, in order, and that of the machine. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/host/node/clock.ts'
import { createEngine, loadEngineParts } from '../../src/host/node/engine/load-engine.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { valueOf } from '../support/messages.ts'

const LOOKS = 50

test('transactions of one millisecond have times in order, in two slots as in one', async () => {
  const parts = await loadEngineParts()
  const engine = await createEngine(parts, { clock: systemClock, random: systemRandom })
  const slots = [await engine.createSlot(), await engine.createSlot()] as const
  for (const slot of slots) {
    slot.boot(TenantFiles.inMemory({ template: engine.template, clock: systemClock }))
  }
  const times: number[] = []
  const fromUs = systemClock.nowMs() * 1000
  for (let look = 0; look < LOOKS; look++) {
    const slot = slots[look % 2 === 0 ? 0 : 1]
    times.push(Number(valueOf(slot, 'select (extract(epoch from now()) * 1000000)::int8')))
  }
  const toUs = systemClock.nowMs() * 1000 + 1000
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  )
  assert.ok((times[0] ?? 0) >= fromUs && (times.at(-1) ?? toUs) < toUs)
  const fine = times.filter((time) => time % 1000 !== 0).length
  assert.ok(fine > LOOKS / 2, `${fine} of ${LOOKS} times are within a millisecond`)
})
