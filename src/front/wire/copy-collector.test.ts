import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collectGarbage } from '../../../test/support/collect-garbage.ts'
import { say } from '../../../test/support/messages.ts'
import { CopyCollector } from './copy-collector.ts'
import { planCopies } from './copy-plan.ts'

function begin(sql: string): CopyCollector {
  const plan = planCopies(sql)
  assert.ok(plan)
  return new CopyCollector({ head: new Uint8Array(say.query(sql)), plan })
}

/** Without garbage, of which other tests of this process have left some. */
function liveBytes(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

test('pieces of any size come out as they came in', () => {
  const copy = begin('copy t from stdin; copy t from stdin')
  const sent: Uint8Array[] = [copy.head]
  const take = (message: Uint8Array): void => {
    sent.push(new Uint8Array(message))
    assert.equal(copy.collect(message, 0, message.length), message.length)
    // Whoever lent them reads somebody else's into the same place.
    message.fill(0)
  }
  for (let round = 0; round < 2; round++) {
    for (const size of [1, 5, 4_000, 4_090, 4_097, 12_000, 70_000, 3, 16_379, 1]) {
      for (let count = 0; count < 5; count++) take(say.copyData(String(count).repeat(size)))
    }
    take(say.copyDone())
  }
  assert.equal(copy.outcome, 'done')
  assert.deepEqual(Buffer.from(copy.messages()), Buffer.concat(sent))
})

test('the data of a COPY that fails is let go, what was whole before it is not', () => {
  const copy = begin('copy t from stdin; copy t from stdin')
  const whole = Buffer.concat([say.copyData('1\n'), say.copyDone()])
  copy.collect(whole, 0, whole.length)
  const failed = Buffer.concat([say.copyData('2\n'), say.copyFail('no more')])
  copy.collect(failed, 0, failed.length)
  const fail = say.copyFail('no more')
  assert.deepEqual(Buffer.from(copy.messages()), Buffer.concat([copy.head, whole, fail]))
})

test('small pieces do not cost an array each', () => {
  const copy = begin('copy t from stdin')
  const message = say.copyData('x')
  const before = liveBytes()
  for (let count = 0; count < 100_000; count++) copy.collect(message, 0, message.length)
  const bytes = liveBytes() - before
  assert.ok(bytes < 4 * copy.keptBytes, `${bytes} bytes for ${copy.keptBytes}`)
})
