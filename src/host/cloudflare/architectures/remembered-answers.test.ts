import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../../base/clock.ts'
import { LIMITS } from '../../../base/limits.ts'
import type { Outcome } from '../outcome.ts'
import { RememberedAnswers } from './remembered-answers.ts'

/** Answers, and how often each question was worked on. */
function newAnswers(): {
  clock: ManualClock
  answers: RememberedAnswers<string>
  done: Map<string, number>
  work: (name: string) => () => Promise<Outcome<string>>
} {
  const clock = new ManualClock()
  const done = new Map<string, number>()
  const work = (name: string) => async (): Promise<Outcome<string>> => {
    done.set(name, (done.get(name) ?? 0) + 1)
    return { result: name }
  }
  return { clock, answers: new RememberedAnswers<string>(clock), done, work }
}

const isUnknown = (outcome: Outcome<string>): boolean =>
  'error' in outcome && outcome.error.from === 'pgnap' && outcome.error.code === 'OUTCOME_UNKNOWN'

const HALF = LIMITS.rememberedAnswerBytes / 2

test('what is still being worked on is never done twice, whatever others weigh', async () => {
  const { answers, done, work } = newAnswers()
  const { memoryId } = answers
  const slow = Promise.withResolvers<Outcome<string>>()
  const first = answers.ask('slow', () => slow.promise)
  for (const name of ['a', 'b', 'c', 'd']) {
    await answers.ask(name, work(name))
    answers.answered(name, HALF)
  }
  const again = answers.again({ requestId: 'slow', memoryId }, work('slow'))
  slow.resolve({ result: 'once' })
  assert.deepEqual([await first, await again], [{ result: 'once' }, { result: 'once' }])
  assert.equal(done.get('slow'), undefined)
})

test('of a question whose answer has gone nobody knows, and it is not done again', async () => {
  const { clock, answers, done, work } = newAnswers()
  const { memoryId } = answers
  for (const name of ['a', 'b', 'c', 'd']) {
    await answers.ask(name, work(name))
    answers.answered(name, HALF)
  }
  clock.advance(LIMITS.socketAnswerMs + 1)
  assert.ok(isUnknown(await answers.again({ requestId: 'a', memoryId }, work('a'))))
  assert.ok(isUnknown(await answers.ask('a', work('a'))), 'a message may be late')
  assert.deepEqual(await answers.again({ requestId: 'd', memoryId }, work('d')), { result: 'd' })
  assert.deepEqual(await answers.again({ requestId: 'e', memoryId }, work('e')), { result: 'e' })
  assert.deepEqual([...done.values()], [1, 1, 1, 1, 1])
  assert.ok(isUnknown(await answers.again({ requestId: 'f', memoryId: 'other' }, work('f'))))
})

test('where names have no room, whatever is not known is not done', async () => {
  const { clock, answers, done, work } = newAnswers()
  const { memoryId } = answers
  for (let count = 0; count < LIMITS.rememberedNamesMax + 3; count++) {
    await answers.ask(`${count}`, work('many'))
    answers.answered(`${count}`, HALF + 1)
  }
  assert.ok(isUnknown(await answers.again({ requestId: '0', memoryId }, work('0'))))
  clock.advance(LIMITS.rememberedNameMs + 1)
  await answers.again({ requestId: 'new', memoryId }, work('new'))
  assert.deepEqual([done.get('0'), done.get('new')], [undefined, 1])
})
