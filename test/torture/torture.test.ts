/** A few rounds of the torture, and the proof that it would notice a loss. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planRound } from './plan.ts'
import { Torture, torture, type TortureOptions } from './torture.ts'
import { WireClient } from './wire-client.ts'

const OPTIONS: TortureOptions = {
  seed: 23,
  rounds: 5,
  tenants: 3,
  clients: 6,
  shards: 2,
  slots: 1,
  report: () => {},
}

test('five rounds lose nothing and tear nothing', async () => {
  const tally = await torture(OPTIONS)
  assert.equal(tally.rounds, OPTIONS.rounds)
  assert.ok(tally.acknowledgedWrites > 0, 'the clients have worked')
  // This seed has an orderly stop and each kind of aftermath.
  const plans = Array.from({ length: OPTIONS.rounds }, (_, round) =>
    planRound(OPTIONS.seed, round + 1),
  )
  const stops = plans.filter(({ ending }) => ending === 'stop').length
  const moreKills = plans.filter(({ aftermath }) => aftermath.kind !== 'none').length
  assert.equal(tally.drains, stops)
  assert.equal(tally.kills, OPTIONS.rounds - stops + moreKills)
  assert.ok(tally.relationsExamined > 1_000)
})

test('a row that is removed behind the back of the ledger ends a round', async () => {
  await using run = await Torture.begin({ ...OPTIONS, tenants: 2, slots: 2 })
  await run.round(1)
  const [tenant, ledger] = [...run.ledgers].find(([, { bank }]) => bank.acknowledged.size > 0) ?? []
  assert.ok(tenant !== undefined && ledger)
  const [id] = ledger.bank.acknowledged.keys()
  const wire = await WireClient.open(run.ports.port, tenant)
  const { error } = await wire.ask(`delete from journal where id = ${id}`)
  assert.equal(error, undefined)
  wire.close()
  await assert.rejects(run.check(), new RegExp(`${tenant}: transfer ${id} is lost`))
})
