import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import { Rebalancer, type ShardLoad, type Transfer } from './rebalancer.ts'

/** Looks until something is due, at most ten times. */
function lookUntilDue(rebalancer: Rebalancer, busy: readonly number[]): Transfer | undefined {
  for (let looks = 0; looks < 10; looks++) {
    const transfer = rebalancer.look(busy)
    if (transfer) return transfer
  }
  return undefined
}

function loadOf(shares: Readonly<Record<string, number>>): ShardLoad {
  const tenants = Object.entries(shares).map(([tenant, busyMs]) => ({
    tenant: tenant as TenantName,
    busyMs,
  }))
  return { totalMs: tenants.reduce((sum, { busyMs }) => sum + busyMs, 0), tenants }
}

test('one hot shard beside an idle one: after a few looks, half of the difference is due', () => {
  const rebalancer = new Rebalancer(3)
  assert.equal(rebalancer.look([1, 0.3, 0.1]), undefined, 'one look is not enough')
  const transfer = lookUntilDue(rebalancer, [1, 0.3, 0.1])
  assert.ok(transfer)
  assert.deepEqual([transfer.from, transfer.to], [0, 2])
  assert.ok(transfer.share > 0.35 && transfer.share <= 0.45, String(transfer.share))
  assert.equal(rebalancer.look([1, 0.3, 0.1]), undefined, 'its effect is waited for')
})

test('nobody moves when all are busy, all are idle, or a shard does not run', () => {
  for (const busy of [
    [1, 0.8],
    [0.6, 0],
    [0, 0],
  ]) {
    assert.equal(lookUntilDue(new Rebalancer(2), busy), undefined, String(busy))
  }
  const rebalancer = new Rebalancer(2)
  for (let looks = 0; looks < 10; looks++) {
    assert.equal(rebalancer.look([1, looks % 3 === 2 ? undefined : 0]), undefined)
  }
})

test('a burst of one second moves nobody', () => {
  const rebalancer = new Rebalancer(2)
  for (let round = 0; round < 10; round++) {
    assert.equal(rebalancer.look([1, 0]), undefined)
    for (let calm = 0; calm < 3; calm++) assert.equal(rebalancer.look([0, 0]), undefined)
  }
})

const TRANSFER = { from: 0, to: 1, busy: 1, share: 0.5 } as Transfer

test('the busiest that fit move; one that alone is too much stays and its neighbours go', () => {
  const chosen = new Rebalancer(2).choose(
    TRANSFER,
    loadOf({ giant: 700, one: 150, two: 100, three: 49, none: 1 }),
    0,
  )
  assert.deepEqual(chosen, ['one', 'two', 'three'])
})

test('who has moved, or would not, is left alone for a while', () => {
  const rebalancer = new Rebalancer(2)
  rebalancer.rest('one' as TenantName, 0)
  const load = loadOf({ giant: 700, one: 200, two: 100 })
  assert.deepEqual(rebalancer.choose(TRANSFER, load, LIMITS.moveAgainMs - 1), ['two'])
  assert.deepEqual(rebalancer.choose(TRANSFER, load, LIMITS.moveAgainMs), ['one', 'two'])
})

test('whatever the loads, the shards come closer and nobody comes back', () => {
  const shares = fc.array(fc.double({ min: 0, max: 0.4, noNaN: true }), { maxLength: 40 })
  fc.assert(
    fc.property(shares, shares, (first, second) => {
      const rebalancer = new Rebalancer(2)
      const places = [first, second].flatMap((each, shard) =>
        each.map((share, index) => ({ tenant: `t${shard}-${index}` as TenantName, share, shard })),
      )
      const busyOf = (shard: number): number =>
        places.reduce((sum, { share, shard: at }) => sum + (at === shard ? share : 0), 0)
      const met = new Map<TenantName, number>()
      // Constant load for a minute: who moved cannot move again, so it settles.
      for (let second = 0; second < 59; second++) {
        const busy = [0, 1].map((shard) => Math.min(1, busyOf(shard)))
        const transfer = rebalancer.look(busy)
        if (!transfer) continue
        const before = Math.abs(busyOf(0) - busyOf(1))
        const load = loadOf(
          Object.fromEntries(
            places
              .filter(({ shard }) => shard === transfer.from)
              .map(({ tenant, share }) => [tenant, share]),
          ),
        )
        const chosen = rebalancer.choose(transfer, load, second * 1000)
        assert.ok(chosen.length <= LIMITS.movesPerRoundMax)
        for (const place of places) {
          if (!chosen.includes(place.tenant)) continue
          place.shard = transfer.to
          met.set(place.tenant, (met.get(place.tenant) ?? 0) + 1)
          rebalancer.rest(place.tenant, second * 1000)
        }
        const after = Math.abs(busyOf(0) - busyOf(1))
        const saturated = busyOf(transfer.from) > 1 || before > 1
        assert.ok(saturated || after <= before + 1e-9, `${before} became ${after}`)
      }
      for (const count of met.values()) assert.equal(count, 1)
    }),
  )
})
