/**
 * What every way of loading and writing must do, over files as Postgres uses them, and with calls
 * that get lost. The four failure scenarios of seed 000, section 3.2, are tests by their names;
 * random histories of several computes are compared with what was acknowledged.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PgnapError } from '../../src/base/errors.ts'
import type { Version } from '../../src/base/ids.ts'
import { LIMITS } from '../../src/base/limits.ts'
import type { Random } from '../../src/base/random.ts'
import { SeededRandom } from '../../src/base/random.ts'
import type { HomeFault } from '../../src/replica/faulty-home.ts'
import type { LoadName } from '../../src/replica/load-strategy.ts'
import { WRITE_STRATEGIES, type WriteName } from '../../src/replica/write-back.ts'
import { MAIN } from '../../src/store/keys.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import {
  Compute,
  FILE,
  type HomePlace,
  HomeUnderTest,
  settled,
  template,
} from '../support/replica-world.ts'

const tokensOf = (text: string): string[] => text.split(' ').filter((token) => token !== '')
const isCode =
  (...codes: string[]) =>
  (error: unknown): boolean =>
    error instanceof PgnapError && codes.includes(error.code)

export interface ReplicaEffort {
  /** Random histories. Default: 60 */
  readonly histories?: number
}

/** Every test of one pair of strategies. */
export function replicaConformance(
  name: string,
  newPlace: () => HomePlace,
  { load, write: writes }: { readonly load: LoadName; readonly write: WriteName },
  { histories = 60 }: ReplicaEffort = {},
): void {
  const isRemote = load !== 'lazy'
  let seed = 0
  const newWorld = (): HomeUnderTest => new HomeUnderTest(newPlace())
  const newCompute = (world: HomeUnderTest): Compute =>
    new Compute(world, load, writes, new SeededRandom(seed++))

  describe(`${name}: load ${load}, write ${writes}`, () => {
    test('what was written is read, here and by another compute', async () => {
      const world = newWorld()
      const one = newCompute(world)
      await one.append('a')
      await one.append('b')
      assert.equal((await one.read()).text, 'a b ')
      await one.flush()
      assert.equal(world.text(), 'a b ')
      assert.equal((await newCompute(world).read()).text, 'a b ')
      assert.equal(one.tenant.pending.commits, 0)
    })

    test('a compute that has been away finds what others have written', async () => {
      const world = newWorld()
      const [one, other] = [newCompute(world), newCompute(world)]
      await one.append('a')
      await one.flush()
      await other.append('b')
      await other.flush()
      one.crash()
      assert.equal((await one.read()).text, 'a b ')
      await one.append('c')
      await one.flush()
      assert.equal((await other.read()).text, 'a b c ')
    })

    test('files that are removed are gone for others too, and large ones come whole', async () => {
      const world = newWorld()
      const [one, other] = [newCompute(world), newCompute(world)]
      const large = 'x'.repeat(3 * 8192 + 5)
      await one.append(large)
      await one.flush()
      assert.equal((await other.read()).text, `${large} `)
      using files = TenantFiles.open(world.store.view(), { template, clock: world.clock })
      files.unlink(files.root, FILE)
      files.commit()
      assert.equal((await other.read()).text, '')
    })

    test('scenario 1: a crash in the middle of a transaction leaves nothing of it', async () => {
      const world = newWorld()
      const one = newCompute(world)
      await one.append('a')
      await one.flush()
      await one.scribble()
      one.crash()
      assert.equal((await one.read()).text, 'a ')
      assert.equal((await newCompute(world).read()).text, 'a ')
      assert.equal(world.text(), 'a ')
    })

    test('scenario 2: what cannot be stored is an error, and gone unless told', async () => {
      const world = newWorld()
      const one = newCompute(world)
      await one.append('a')
      await one.flush()
      world.failCommit('before')
      const failing = one.append('b').then(() => one.flush())
      // What was acknowledged ahead stays, and is brought again.
      const stays = WRITE_STRATEGIES[writes].mayLose && isRemote
      await assert.rejects(failing, isCode(stays ? 'OUTCOME_UNKNOWN' : 'STORE_IO'))
      const text = stays ? 'a b ' : 'a '
      assert.equal((await one.read()).text, text)
      assert.equal(world.text(), text)
      assert.equal(one.tenant.loss.commits, 0)
      await one.append('c')
      await one.flush()
      assert.equal(world.text(), `${text}c `)
    })

    if (isRemote) {
      partitions(newWorld, newCompute, writes)
      concurrency(newWorld, newCompute, { load, writes })
    }
    test('random histories lose nothing acknowledged, and make nothing twice', async () => {
      const property = fc.asyncProperty(fc.nat(), async (history) => {
        const world = newWorld()
        const random = new SeededRandom(history)
        await playHistory(world, () => newCompute(world), { random, isRemote })
      })
      await fc.assert(property, { numRuns: histories })
    })
  })
}

function partitions(
  newWorld: () => HomeUnderTest,
  newCompute: (world: HomeUnderTest) => Compute,
  writes: WriteName,
): void {
  const { mayLose } = WRITE_STRATEGIES[writes]

  test('scenario 3: without a way home nothing is answered, and soon', async () => {
    const world = newWorld()
    const one = newCompute(world)
    await one.append('a')
    await one.flush()
    for (const fault of ['request lost', 'no answer'] as const) {
      world.calls.fault = () => fault
      const startMs = world.clock.nowMs()
      const asking = one.read()
      await settled(world.clock, asking)
      await assert.rejects(asking, isCode('SERVER_UNREACHABLE'))
      assert.ok(world.clock.nowMs() - startMs <= LIMITS.homeAnswerMs + 100)
    }
    world.calls.fault = () => undefined
    assert.equal((await one.read()).text, 'a ')
  })

  test('scenario 3: who asks for it reads what was known, and is told how old it is', async () => {
    const world = newWorld()
    const one = newCompute(world)
    await one.append('a')
    await one.flush()
    assert.equal((await one.read(true)).staleMs, undefined)
    world.clock.advance(1_234)
    world.calls.fault = () => 'request lost'
    const { text, staleMs } = await one.read(true)
    assert.deepEqual([text, staleMs], ['a ', 1_234])
    const stranger = newCompute(world)
    await assert.rejects(stranger.read(true), isCode('SERVER_UNREACHABLE'))
  })

  test('scenario 3: an answer that is lost is no acknowledgement', async () => {
    const world = newWorld()
    const one = newCompute(world)
    await one.append('a')
    await one.flush()
    world.calls.fault = (call) => (call === 'deliver' ? 'answer lost' : undefined)
    const appending = one.append('b').then(() => one.flush())
    await settled(world.clock, appending)
    await assert.rejects(appending, isCode('OUTCOME_UNKNOWN'))
    world.calls.fault = () => undefined
    one.crash()
    // It has got there; and nobody was told that it had not.
    assert.equal((await one.read()).text, 'a b ')
    await one.flush()
    assert.equal(world.text(), 'a b ')
    assert.equal(one.tenant.loss.commits, 0)
  })

  test('what is heard of at last is there once', async () => {
    if (writes === 'sync') return
    const world = newWorld()
    const one = newCompute(world)
    await one.append('a')
    await one.flush()
    let left = 3
    world.calls.fault = (call) => (call === 'deliver' && left-- > 0 ? 'answer lost' : undefined)
    const appending = one.append('b').then(() => one.flush())
    await settled(world.clock, appending)
    await appending
    assert.equal(left, -1)
    assert.equal(world.text(), 'a b ')
    await one.append('c')
    await one.flush()
    assert.equal(world.text(), 'a b c ')
  })

  test('a request that comes after all changes nothing under those who went on', async () => {
    const world = newWorld()
    const one = newCompute(world)
    await one.append('a')
    await one.flush()
    world.calls.fault = (call) => (call === 'deliver' ? 'delay' : undefined)
    const appending = one.append('b').then(() => one.flush())
    await settled(world.clock, appending)
    await assert.rejects(appending, isCode('OUTCOME_UNKNOWN'))
    world.calls.fault = () => undefined
    const other = newCompute(world)
    await other.append('c')
    await other.flush()
    world.calls.release()
    assert.equal(world.text(), 'a c ')
    await settled(world.clock, one.flush())
    assert.equal((await one.read()).text, 'a c ')
    assert.equal(one.tenant.loss.commits, mayLose ? 1 : 0)
  })

  test('storage whose answer is lost acknowledges nothing that it has not got', async () => {
    const world = newWorld()
    const one = newCompute(world)
    await one.append('a')
    await one.flush()
    world.failCommit('after')
    const appending = one.append('b').then(() => one.flush())
    await settled(world.clock, appending)
    const heard = await appending.then(
      () => undefined,
      (error: unknown) => error,
    )
    // Who brings it again is told that it is there; who does not is told that nobody knows.
    if (writes === 'sync') assert.ok(isCode('OUTCOME_UNKNOWN')(heard))
    else assert.equal(heard, undefined)
    one.crash()
    assert.equal((await one.read()).text, 'a b ')
    assert.equal(world.text(), 'a b ')
  })
}

function concurrency(
  newWorld: () => HomeUnderTest,
  newCompute: (world: HomeUnderTest) => Compute,
  { load, writes }: { load: LoadName; writes: WriteName },
): void {
  const { mayLose } = WRITE_STRATEGIES[writes]

  test('scenario 4: of two computes that write at once exactly one wins', async () => {
    const world = newWorld()
    const [one, other] = [newCompute(world), newCompute(world)]
    await one.append('a')
    await one.flush()
    await Promise.all([one.read(), other.read()])
    const both = [one, other].map(async (compute, index) => {
      await compute.appendUnchecked(`${index}`)
      await compute.flush()
      return index
    })
    const ended = await Promise.allSettled(both)
    const won = ended.filter((each) => each.status === 'fulfilled').map(({ value }) => value)
    const refused = ended.filter((each) => each.status === 'rejected')
    assert.equal(won.length, 1)
    for (const { reason } of refused) {
      assert.ok(isCode('STORE_FENCED')(reason))
      assert.equal((reason as PgnapError).sqlState, '40001')
      assert.ok((reason as PgnapError).hint)
    }
    const [loser, winner] = won[0] === 0 ? [other, one] : [one, other]
    assert.equal(world.text(), `a ${won[0]} `)
    loser.crash()
    assert.equal((await loser.read()).text, `a ${won[0]} `)
    assert.equal(loser.tenant.loss.commits, mayLose ? 1 : 0)
    assert.equal(winner.tenant.loss.commits, 0)
    await loser.append('again')
    await loser.flush()
    assert.equal((await winner.read()).text, `a ${won[0]} again `)
  })

  test('what is brought over another past is refused, whatever its number', async () => {
    const world = newWorld()
    const one = newCompute(world)
    await one.append('a')
    await one.append('b')
    await one.flush()
    await one.read()
    // As many commits as before, by an owner who does not know of them.
    const versions = world.store.head()
    world.store.restore(MAIN, 0 as Version)
    world.restart()
    const other = newCompute(world)
    await other.append('x')
    await other.flush()
    assert.ok(world.store.head() > versions)
    const appending = one.appendUnchecked('c').then(() => one.flush())
    await assert.rejects(appending, isCode('STORE_FENCED'))
    one.crash()
    assert.equal((await one.read()).text, 'x ')
  })

  test('a load moves what it must, and no more', async () => {
    const world = newWorld()
    const [one, other] = [newCompute(world), newCompute(world)]
    for (let n = 0; n < 20; n++) await one.append(`${n}`.repeat(1_000))
    await one.flush()
    const first = await other.tenant.freshen(world.calls)
    assert.equal(first.how, 'whole')
    assert.equal((await other.tenant.freshen(world.calls)).how, 'same')
    const known = await other.tenant.freshen(world.calls, { hint: world.store.stamp() })
    assert.equal(known.how, 'none')
    await one.append('news')
    await one.flush()
    const later = await other.tenant.freshen(world.calls)
    assert.equal(later.how, load === 'snapshot' ? 'whole' : 'changes')
    if (load !== 'snapshot') assert.ok(later.rowCount < first.rowCount + 1)
    assert.equal((await other.read()).text, world.text())
    other.crash()
    const kept = await other.tenant.freshen(world.calls)
    assert.equal(kept.how, load === 'snapshot' ? 'whole' : 'same')
  })
}

/** What the computes of a history were told. */
interface Ledger {
  readonly acknowledged: Map<Compute, string[]>
  readonly refused: Set<string>
}

async function playHistory(
  world: HomeUnderTest,
  newCompute: () => Compute,
  { random, isRemote }: { random: Random; isRemote: boolean },
): Promise<void> {
  const computes = [newCompute(), newCompute(), newCompute()].slice(0, isRemote ? 3 : 1)
  const faults: (HomeFault | undefined)[] = ['request lost', 'answer lost', 'delay']
  world.calls.fault = () => (random.below(5) === 0 ? faults[random.below(3)] : undefined)
  const ledger: Ledger = { acknowledged: new Map(), refused: new Set() }
  for (let step = 0; step < 40; step++) {
    const compute = computes[random.below(computes.length)] ?? computes[0]
    assert.ok(compute)
    await playStep(world, { compute, random, ledger, token: `t${step}`, isRemote })
  }
  world.calls.fault = () => undefined
  world.calls.release()
  // The first may meet a storage that fails, which was ordered and not yet delivered.
  for (const compute of [...computes, ...computes]) await settled(world.clock, compute.flush())
  judge(world, ledger)
}

async function playStep(
  world: HomeUnderTest,
  {
    compute,
    random,
    ledger,
    token,
    isRemote,
  }: { compute: Compute; random: Random; ledger: Ledger; token: string; isRemote: boolean },
): Promise<void> {
  switch (random.below(10)) {
    case 0:
      return compute.crash()
    case 1:
      return world.calls.release()
    case 2:
      return void (random.below(2) === 0 && isRemote && world.restart())
    case 3:
      return world.failCommit(random.below(2) === 0 || !isRemote ? 'before' : 'after')
    case 4:
      return settled(world.clock, compute.flush())
    case 5:
      return settled(world.clock, compute.read())
    default: {
      const appending = compute.append(token)
      await settled(world.clock, appending)
      try {
        await appending
        const known = ledger.acknowledged.get(compute) ?? []
        ledger.acknowledged.set(compute, [...known, token])
      } catch (error) {
        assert.ok(error instanceof PgnapError, String(error))
        if (!isCode('OUTCOME_UNKNOWN')(error)) ledger.refused.add(token)
        compute.crash()
      }
    }
  }
}

/** Every token once at most; none that was refused; none missing that was not told to be lost. */
function judge(world: HomeUnderTest, { acknowledged, refused }: Ledger): void {
  const present = tokensOf(world.text())
  assert.equal(new Set(present).size, present.length, `once each: ${present.join(' ')}`)
  for (const token of present) assert.ok(!refused.has(token), `${token} was refused`)
  for (const [compute, tokens] of acknowledged) {
    const missing = tokens.filter((token) => !present.includes(token))
    const { loss } = compute.tenant
    assert.ok(missing.length <= loss.commits, `${missing.join(' ')}: told of ${loss.commits} lost`)
    const kept = tokens.filter((token) => present.includes(token))
    assert.deepEqual(
      kept,
      present.filter((token) => kept.includes(token)),
      'in order',
    )
  }
}
