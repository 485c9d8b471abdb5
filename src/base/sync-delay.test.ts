import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from './clock.ts'
import { LIMITS } from './limits.ts'
import type { LogFields } from './log.ts'
import {
  addUpSyncDelays,
  SYNC_ACTIONS,
  SYNC_STATUSES,
  SyncDelayMonitor,
  syncStatus,
} from './sync-delay.ts'

interface Line {
  readonly level: 'info' | 'warn'
  readonly message: string
  readonly fields: LogFields
}

function open(): { monitor: SyncDelayMonitor; clock: ManualClock; lines: Line[] } {
  const clock = new ManualClock()
  const lines: Line[] = []
  const write =
    (level: Line['level']) =>
    (message: string, fields: LogFields = {}): void =>
      void lines.push({ level, message, fields })
  const log = { info: write('info'), warn: write('warn') }
  return { monitor: new SyncDelayMonitor({ clock, log }), clock, lines }
}

test('a delay has the status of seed 004, at each of its edges', () => {
  const edges = [0, 99.999, 100, 299.999, 300, 499.999, 500, 999.999, 1_000, 60_000]
  assert.deepEqual(
    edges.map((ms) => [syncStatus(ms), SYNC_ACTIONS[syncStatus(ms)]]),
    [
      ['optimal', 'none'],
      ['optimal', 'none'],
      ['acceptable', 'none'],
      ['acceptable', 'none'],
      ['warning', 'log_warning'],
      ['warning', 'log_warning'],
      ['slow', 'consider_archiving'],
      ['slow', 'consider_archiving'],
      ['critical', 'show_user_warning'],
      ['critical', 'show_user_warning'],
    ],
  )
})

test('nothing is known before the first, and loads and saves are counted apart', () => {
  const { monitor } = open()
  assert.equal(monitor.facts().load.last, undefined)
  assert.equal(monitor.record('load', 120), 'acceptable')
  const { load, save } = monitor.facts()
  assert.deepEqual(load.last, { ms: 120, status: 'acceptable' })
  assert.deepEqual([load.count, load.recent], [1, { count: 1, slow: 0 }])
  assert.deepEqual([save.count, save.last], [0, undefined])
})

test('a slow start raises no alarm, three slow ones of ten do, until they are fewer', () => {
  const { monitor, clock, lines } = open()
  const alarms = (): string[] =>
    lines.map(({ message }) => message).filter((message) => !message.includes('took long'))
  monitor.record('load', 3_400)
  assert.equal(monitor.facts().load.alarm, false)
  monitor.record('load', 600)
  assert.equal(monitor.facts().load.alarm, false)
  monitor.record('load', 600)
  assert.equal(monitor.facts().load.alarm, true)
  assert.deepEqual(alarms(), ['many a load is slow lately'])
  // The first one leaves the window with the eighth that is quick.
  for (let count = 0; count < 7; count++) monitor.record('load', 1)
  assert.equal(monitor.facts().load.alarm, true)
  clock.advance(LIMITS.syncLogPauseMs)
  monitor.record('load', 1)
  assert.equal(monitor.facts().load.alarm, false)
  assert.deepEqual(alarms(), ['many a load is slow lately', 'a load is quick again'])
})

test('the log tells what took long, once in a while, and how much it has not told', () => {
  const { monitor, clock, lines } = open()
  monitor.record('save', 299)
  assert.equal(lines.length, 0)
  monitor.record('save', 300, 'acme')
  monitor.record('save', 450, 'acme')
  monitor.record('save', 450, 'acme')
  clock.advance(LIMITS.syncLogPauseMs)
  monitor.record('save', 1_200, 'other')
  assert.deepEqual(lines, [
    {
      level: 'info',
      message: 'a save took long',
      fields: {
        kind: 'save',
        ms: 300,
        status: 'warning',
        action: 'log_warning',
        tenant: 'acme',
      },
    },
    {
      level: 'warn',
      message: 'a save took long',
      fields: {
        kind: 'save',
        ms: 1_200,
        status: 'critical',
        action: 'show_user_warning',
        tenant: 'other',
        unsaid: 2,
      },
    },
  ])
})

test('whatever comes, the window is that of the last ten', () => {
  const durations = fc.array(fc.double({ min: 0, max: 3_000, noNaN: true }), { maxLength: 60 })
  fc.assert(
    fc.property(durations, (all) => {
      const { monitor } = open()
      for (const ms of all) monitor.record('save', ms)
      const { count, byStatus, recent, alarm } = monitor.facts().save
      const last = all.slice(-LIMITS.syncWindow)
      const slow = last.filter((ms) => ms >= LIMITS.syncWarningMs).length
      assert.deepEqual(recent, { count: last.length, slow })
      assert.equal(alarm, slow >= 3)
      assert.equal(count, all.length)
      for (const status of SYNC_STATUSES) {
        assert.equal(byStatus[status], all.filter((ms) => syncStatus(ms) === status).length)
      }
    }),
  )
})

test('places add up, and one in alarm is enough', () => {
  const [first, second] = [open().monitor, open().monitor]
  for (let count = 0; count < 3; count++) first.record('save', 700)
  second.record('save', 2)
  const { save, load } = addUpSyncDelays([first.facts(), second.facts()])
  assert.deepEqual([save.count, save.byStatus.slow, save.byStatus.optimal], [4, 3, 1])
  assert.deepEqual(save.recent, { count: 4, slow: 3 })
  assert.deepEqual([save.alarm, load.alarm], [true, false])
  assert.deepEqual(save.last, { ms: 700, status: 'slow' })
  assert.equal(addUpSyncDelays([]).save.count, 0)
})
