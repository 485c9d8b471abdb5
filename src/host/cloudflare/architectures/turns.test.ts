import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../../base/clock.ts'
import { Turns } from './turns.ts'

const late = (): Error => new Error('late')
const tick = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve()
}

test('whoever comes first is first, and nobody works beside another', async () => {
  const turns = new Turns(new ManualClock())
  const said: string[] = []
  const work = (name: string) => async (): Promise<string> => {
    said.push(`${name} begins`)
    await tick()
    said.push(`${name} ends`)
    return name
  }
  const results = await Promise.all(['a', 'b', 'c'].map((name) => turns.run(100, late, work(name))))
  assert.deepEqual(results, ['a', 'b', 'c'])
  assert.deepEqual(
    said,
    ['a', 'b', 'c'].flatMap((name) => [`${name} begins`, `${name} ends`]),
  )
  assert.equal(turns.count, 0)
})

test('work that fails is no reason for others to fail', async () => {
  const turns = new Turns(new ManualClock())
  const failing = turns.run(100, late, async () => {
    throw new Error('failed')
  })
  const next = turns.run(100, late, async () => 'next')
  await assert.rejects(failing, /failed/)
  assert.equal(await next, 'next')
})

test('whoever waits too long is told, and does nothing later', async () => {
  const clock = new ManualClock()
  const turns = new Turns(clock)
  const stuck = Promise.withResolvers<void>()
  const first = turns.run(100, late, () => stuck.promise)
  await tick()
  let ran = ''
  const second = turns.run(100, late, async () => void (ran += 'second'))
  const third = turns.run(200, late, async () => void (ran += 'third'))
  clock.advance(101)
  await assert.rejects(second, /late/)
  await tick()
  assert.equal(ran, '', 'nobody works beside whoever is still at it')
  stuck.resolve()
  await Promise.all([first, third])
  assert.equal(ran, 'third')
  assert.equal(turns.count, 0)
})

test('whoever has the turn is told from a queue that is long', async () => {
  const clock = new ManualClock()
  const turns = new Turns(clock)
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const running = [first, second].map(({ promise }) => turns.run(1_000, late, () => promise))
  const heldMs: number[] = []
  const tell = (): Error => {
    heldMs.push(turns.heldMs)
    return late()
  }
  const waiting = turns.run(100, tell, async () => {})
  await tick()
  clock.advance(90)
  first.resolve()
  await tick()
  clock.advance(10)
  await assert.rejects(waiting, /late/)
  assert.deepEqual(heldMs, [10])
  second.resolve()
  await Promise.all(running)
  assert.equal(turns.heldMs, 0)
})
