import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  afterFreezing,
  carryOver,
  readLedger,
  readSettings,
  readTable,
  settle,
  surveySql,
  taskFor,
  totalCounters,
  writeLedger,
} from './maintenance.ts'
import type { Ledger, TableCounters, TableFacts } from './maintenance.ts'

/** Postgres 18's defaults, in the order of SETTINGS_SQL. */
const DEFAULTS = [
  'on',
  '50',
  '0.2',
  '100000000',
  '1000',
  '0.2',
  '50',
  '0.1',
  '200000000',
  '400000000',
]
const settings = readSettings(DEFAULTS)
const nothing: Ledger = new Map()
const none: TableCounters = { dead: 0, inserted: 0, modified: 0 }

function table(changes: Partial<TableFacts> = {}): TableFacts {
  const facts: TableFacts = {
    oid: 16_384,
    name: 'public.t',
    isToast: false,
    reltuples: 1_000,
    unfrozenShare: 1,
    live: none,
    vacuumed: false,
    analyzed: false,
    xidAge: 3,
    multixactAge: 0,
    options: new Map(),
  }
  return { ...facts, ...changes }
}

function statementFor(changes: Partial<TableFacts>, row = DEFAULTS): string | undefined {
  return taskFor(table(changes), nothing, readSettings(row))?.statement
}

test('the thresholds are those of autovacuum', () => {
  const at = (counters: Partial<TableCounters>): string | undefined =>
    statementFor({ live: { ...none, ...counters } })
  assert.equal(at({ dead: 250 }), undefined)
  assert.equal(at({ dead: 251 }), 'vacuum public.t')
  assert.equal(at({ inserted: 1_200 }), undefined)
  assert.equal(at({ inserted: 1_201 }), 'vacuum public.t')
  assert.equal(at({ modified: 150 }), undefined)
  assert.equal(at({ modified: 151 }), 'analyze public.t')
  assert.equal(at({ dead: 251, modified: 151 }), 'vacuum (analyze) public.t')
})

test('a table that was never analyzed counts as empty, frozen pages do not count', () => {
  assert.equal(statementFor({ reltuples: -1, live: { ...none, dead: 51 } }), 'vacuum public.t')
  const live = { ...none, inserted: 1_051 }
  assert.equal(statementFor({ live, unfrozenShare: 0.25 }), 'vacuum public.t')
  assert.equal(statementFor({ live, unfrozenShare: 0.26 }), undefined)
})

test('a huge table is vacuumed at the maximum threshold, -1 takes limits away', () => {
  const live = { dead: 100_000_001, inserted: 100_000_000, modified: 0 }
  const reltuples = 1e10
  assert.equal(statementFor({ reltuples, live }), 'vacuum public.t')
  assert.equal(statementFor({ reltuples, live }, DEFAULTS.with(3, '-1')), undefined)
  const inserts = { ...none, inserted: 1e9 }
  assert.equal(statementFor({ live: inserts }, DEFAULTS.with(4, '-1')), undefined)
})

test('what was frozen is told of as a whole, and nothing else is', () => {
  const task = { oid: 16_384, vacuum: true, analyze: false, statement: 'vacuum t' }
  assert.deepEqual(afterFreezing([]), [])
  assert.deepEqual(afterFreezing([{ ...task, freezes: false }]), [])
  const after = afterFreezing([
    { ...task, freezes: false },
    { ...task, freezes: true },
  ])
  assert.equal(after.length, 2)
  assert.match(after[0]?.statement ?? '', /^update pg_catalog\.pg_database/)
  assert.equal(after[1]?.statement, 'vacuum pg_catalog.pg_database')
  assert.ok(
    after.every(({ freezes }) => freezes),
    'they wait for nobody',
  )
})

test('a table may set its own thresholds, and switch off all but the freeze', () => {
  const live = { ...none, dead: 251 }
  const options = new Map([['autovacuum_vacuum_threshold', '500']])
  assert.equal(statementFor({ live, options }), undefined)
  const off = new Map([['autovacuum_enabled', 'false']])
  assert.equal(statementFor({ live, options: off }), undefined)
  assert.equal(statementFor({ live }, DEFAULTS.with(0, 'off')), undefined)
  assert.equal(statementFor({ options: off, xidAge: 200_000_001 }), 'vacuum public.t')
  assert.equal(statementFor({ options: off, multixactAge: 400_000_001 }), 'vacuum public.t')
  const later = new Map([['autovacuum_freeze_max_age', '2000000000']])
  assert.equal(statementFor({ options: later, xidAge: 200_000_001 }), 'vacuum public.t')
})

test('TOAST tables are vacuumed and never analyzed', () => {
  const live = { dead: 251, inserted: 0, modified: 1_000 }
  assert.equal(statementFor({ isToast: true, live }), 'vacuum public.t')
})

test('counters from before a wake count until somebody has cleaned up', () => {
  const ledger: Ledger = new Map([[16_384, { dead: 200, inserted: 10, modified: 100 }]])
  const live = { dead: 60, inserted: 1, modified: 60 }
  assert.deepEqual(totalCounters(table({ live }), ledger), {
    dead: 260,
    inserted: 11,
    modified: 160,
  })
  assert.equal(taskFor(table({ live }), ledger, settings)?.statement, 'vacuum (analyze) public.t')
  assert.deepEqual(totalCounters(table({ live, vacuumed: true }), ledger), {
    dead: 60,
    inserted: 1,
    modified: 160,
  })
  const task = taskFor(table({ live }), ledger, settings)
  assert.ok(task)
  assert.deepEqual(settle(ledger, task).get(16_384), none)
})

test('over any number of wakes nothing is forgotten and nothing is counted twice', () => {
  const counters = fc.record({ dead: fc.nat(99), inserted: fc.nat(99), modified: fc.nat(99) })
  fc.assert(
    fc.property(fc.array(counters, { minLength: 1 }), (wakes) => {
      let ledger = nothing
      const sum = { ...none }
      for (const live of wakes) {
        ledger = readLedger(writeLedger(carryOver([table({ live })], ledger)))
        sum.dead += live.dead
        sum.inserted += live.inserted
        sum.modified += live.modified
      }
      assert.deepEqual(ledger.get(16_384) ?? none, sum)
    }),
  )
})

test('notes that are not understood are no notes', () => {
  const foreign = ['', '{', 'null', '[]', '{"version":2,"tables":[[1,1,1,1]]}', '{"version":1}']
  for (const notes of [undefined, ...foreign]) assert.equal(readLedger(notes).size, 0)
  const mixed = '{"version":1,"tables":[[1,2,3,4],[2,-1,0,0],["x",1,1,1],[3],7]}'
  assert.deepEqual([...readLedger(mixed)], [[1, { dead: 2, inserted: 3, modified: 4 }]])
})

test('a row of the survey is read, and the ledger asks for its tables', () => {
  const row = [
    '7',
    'a."B"',
    't',
    '-1',
    '0.5',
    '1',
    '2',
    '3',
    't',
    'f',
    '9',
    '8',
    'autovacuum_enabled=off,fillfactor=70',
  ]
  assert.deepEqual(readTable(row), {
    oid: 7,
    name: 'a."B"',
    isToast: true,
    reltuples: -1,
    unfrozenShare: 0.5,
    live: { dead: 1, inserted: 2, modified: 3 },
    vacuumed: true,
    analyzed: false,
    xidAge: 9,
    multixactAge: 8,
    options: new Map([
      ['autovacuum_enabled', 'off'],
      ['fillfactor', '70'],
    ]),
  })
  assert.match(
    surveySql(
      new Map([
        [5, none],
        [6, none],
      ]),
    ),
    /oid in \(5, 6\)/,
  )
  assert.doesNotMatch(surveySql(nothing), /oid in/)
})
