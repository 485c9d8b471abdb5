/** A checker that never fails proves nothing: every kind of loss must be seen, and no other. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { judge } from './check.ts'
import { differences, judgeBank, judgeDomain, stepsReached } from './judge.ts'
import {
  ACCOUNT_COUNT,
  BankLedger,
  DomainLedger,
  type DomainState,
  OPENING_BALANCE,
  TenantLedger,
  type Transfer,
  withRows,
  withTable,
} from './ledger.ts'
import { Tally } from './tally.ts'

const TABLE = 'c0_main'
const EMPTY: DomainState = {
  tables: new Map([[TABLE, { columns: ['id', 'value'], rows: new Map(), indexes: [] }]]),
  sequence: 5,
}
const put = (state: DomainState, ...ids: readonly number[]): DomainState =>
  withRows(state, TABLE, { put: ids.map((id) => [String(id), `value ${id}`]) })
const table = (state: DomainState): NonNullable<ReturnType<DomainState['tables']['get']>> => {
  const found = state.tables.get(TABLE)
  assert.ok(found)
  return found
}
/** As an observer would read it: the sequence has gone on. */
const found = (state: DomainState): DomainState => ({ ...state, sequence: 6 })

function ledgerOf(acknowledged: DomainState, ...unanswered: readonly DomainState[]): DomainLedger {
  const ledger = new DomainLedger()
  ledger.begin(acknowledged)
  ledger.acknowledge()
  for (const state of unanswered) ledger.begin(state)
  return ledger
}

describe('a domain', () => {
  const two = put(EMPTY, 1, 2)

  test('is sound as it was acknowledged', () => {
    assert.deepEqual(judgeDomain(ledgerOf(two), found(two)), [])
  })

  test('a lost row is seen', () => {
    assert.match(judgeDomain(ledgerOf(two), found(put(EMPTY, 1))).join(), /row 2 is lost/)
  })

  test('a row of an aborted transaction is seen', () => {
    const problems = judgeDomain(ledgerOf(two), found(put(two, 3)))
    assert.match(problems.join(), /row 3 should not be there/)
  })

  test('a changed value is seen, also when only its end differs or it became null', () => {
    const long = 'x'.repeat(5_000)
    const wanted = withRows(EMPTY, TABLE, { put: [['1', `${long}a`]] })
    for (const value of [`${long}b`, long, null, '']) {
      const state = withRows(EMPTY, TABLE, { put: [['1', value]] })
      assert.match(judgeDomain(ledgerOf(wanted), found(state)).join(), /row 1 is/)
    }
  })

  test('an update that was taken back is seen', () => {
    const updated = withRows(two, TABLE, { put: [['2', 'new']] })
    assert.match(judgeDomain(ledgerOf(updated), found(two)).join(), /row 2 is .* and not/)
  })

  test('an unanswered message may have happened or not', () => {
    const ledger = ledgerOf(two, put(two, 3, 4))
    assert.equal(stepsReached(ledger, found(two)), 0)
    assert.equal(stepsReached(ledger, found(put(two, 3, 4))), 1)
    assert.deepEqual(judgeDomain(ledger, found(two)), [])
    assert.deepEqual(judgeDomain(ledger, found(put(two, 3, 4))), [])
  })

  test('half of an unanswered transaction is seen', () => {
    const problems = judgeDomain(ledgerOf(two, put(two, 3, 4)), found(put(two, 3)))
    assert.match(problems.join(), /row 3 should not be there/)
    assert.match(problems.join(), /unanswered message 1: c0_main: row 4 is lost/)
  })

  test('of a pipeline, any beginning may be there, and no gap', () => {
    const ledger = ledgerOf(two, put(two, 3), put(two, 3, 4))
    for (const state of [two, put(two, 3), put(two, 3, 4)]) {
      assert.deepEqual(judgeDomain(ledger, found(state)), [])
    }
    assert.notDeepEqual(judgeDomain(ledger, found(put(two, 4))), [])
  })

  test('an answered message of a pipeline must be there', () => {
    const ledger = ledgerOf(two, put(two, 3), put(two, 3, 4))
    ledger.acknowledge()
    assert.notDeepEqual(judgeDomain(ledger, found(two)), [])
    assert.deepEqual(judgeDomain(ledger, found(put(two, 3))), [])
  })

  test('lost, added and changed schema is seen', () => {
    const indexed = withTable(two, TABLE, { ...table(two), indexes: ['c0_main_by_value'] })
    const wider = withTable(two, TABLE, { ...table(two), columns: ['id', 'value', 'extra2'] })
    const extra = withTable(two, 'c0_one', table(EMPTY))
    const gone = withTable(two, TABLE, undefined)
    for (const [wanted, state] of [
      [two, indexed],
      [indexed, two],
      [two, wider],
      [wider, two],
      [two, extra],
      [extra, two],
      [two, gone],
    ] as const) {
      assert.equal(differences(wanted, found(state)).length, 1)
    }
  })

  test('a sequence that goes back, vanishes or appears is seen', () => {
    assert.match(differences(two, { ...two, sequence: 5 }).join(), /gives 5 again after 5/)
    assert.match(differences(two, { ...two, sequence: undefined }).join(), /is lost/)
    const without = { ...two, sequence: undefined }
    assert.match(differences(without, { ...two, sequence: 1 }).join(), /should not be there/)
    assert.deepEqual(differences(two, { ...two, sequence: 38 }), [])
  })
})

describe('a bank', () => {
  const made: Transfer = { from: 1, to: 2, amount: 10 }
  const other: Transfer = { from: 2, to: 3, amount: 7 }

  /** Balances as the journal says. */
  function balances(...transfers: readonly Transfer[]): Map<number, number> {
    const result = new Map<number, number>()
    for (let id = 1; id <= ACCOUNT_COUNT; id++) result.set(id, OPENING_BALANCE)
    for (const { from, to, amount } of transfers) {
      result.set(from, (result.get(from) ?? 0) - amount)
      result.set(to, (result.get(to) ?? 0) + amount)
    }
    return result
  }

  function openBank(): BankLedger {
    const ledger = new BankLedger()
    ledger.beginOpening()
    ledger.acknowledgeOpening()
    ledger.begin(1, made)
    ledger.acknowledge(1)
    return ledger
  }

  const journal = (...entries: readonly [number, Transfer][]): Map<number, Transfer> =>
    new Map(entries)

  test('is sound when every transfer is whole', () => {
    const state = { balances: balances(made), journal: journal([1, made]) }
    assert.deepEqual(judgeBank(openBank(), state), [])
  })

  test('a lost transfer is seen, although the sums hold', () => {
    const problems = judgeBank(openBank(), { balances: balances(), journal: journal() })
    assert.deepEqual(problems, ['transfer 1 is lost'])
  })

  test('a transfer whose second half is missing is seen', () => {
    const torn = balances(made)
    torn.set(2, OPENING_BALANCE)
    const problems = judgeBank(openBank(), { balances: torn, journal: journal([1, made]) })
    assert.match(problems.join(), /account 2 holds 1000 and not 1010: a torn transfer/)
    assert.match(problems.join(), /all accounts together hold 7990 and not 8000/)
  })

  test('money moved without a journal entry is seen, although the sum holds', () => {
    const problems = judgeBank(openBank(), {
      balances: balances(made, other),
      journal: journal([1, made]),
    })
    assert.match(problems.join(), /a torn transfer/)
  })

  test('an aborted transfer is seen', () => {
    const state = { balances: balances(made, other), journal: journal([1, made], [2, other]) }
    assert.match(judgeBank(openBank(), state).join(), /transfer 2 was aborted, or never made/)
  })

  test('an unanswered transfer may be there, as it was asked for', () => {
    const ledger = openBank()
    ledger.begin(2, other)
    const entries = journal([1, made], [2, other])
    const state = { balances: balances(made, other), journal: entries }
    assert.deepEqual(judgeBank(ledger, state), [])
    const changed = { ...other, amount: 8 }
    const wrong = { balances: balances(made, changed), journal: journal([1, made], [2, changed]) }
    assert.match(judgeBank(ledger, wrong).join(), /transfer 2 is not what was asked for/)
  })

  test('a bank that is lost, or half there, or that nobody opened is seen', () => {
    const none = { balances: undefined, journal: undefined }
    assert.deepEqual(judgeBank(openBank(), none), ['the bank is lost'])
    assert.deepEqual(judgeBank(new BankLedger(), none), [])
    const half = { balances: balances(), journal: undefined }
    assert.deepEqual(judgeBank(openBank(), half), ['half of the bank is there'])
    const opened = { balances: balances(), journal: journal() }
    assert.deepEqual(judgeBank(new BankLedger(), opened), ['nobody has opened this bank'])
  })
})

describe('a tenant', () => {
  const bank = { balances: undefined, journal: undefined }
  const rows = put(EMPTY, 1)

  function ledgerWith(client: number): TenantLedger {
    const ledger = new TenantLedger()
    ledger.domain(client).begin(rows)
    return ledger
  }

  test('the ledger adopts what was found, and counts what became of the unanswered', () => {
    const ledger = ledgerWith(0)
    const tally = new Tally()
    const state = { domains: new Map([[0, found(rows)]]), bank, strays: [], rowCount: 1 }
    assert.deepEqual(judge(ledger, state, tally), [])
    assert.equal(tally.unansweredKept, 1)
    assert.deepEqual(ledger.domain(0).acknowledged, found(rows))
    assert.equal(ledger.domain(0).possible.length, 1)
  })

  test('a missing domain counts as an empty one', () => {
    const tally = new Tally()
    const state = { domains: new Map(), bank, strays: [], rowCount: 0 }
    assert.deepEqual(judge(ledgerWith(0), state, tally), [])
    assert.equal(tally.unansweredGone, 1)
    const ledger = ledgerWith(0)
    ledger.domain(0).acknowledge()
    assert.match(judge(ledger, state, tally).join(), /table c0_main is lost/)
  })

  test('tables of another tenant or of nobody are seen', () => {
    const domains = new Map([[1, found(rows)]])
    const problems = judge(
      ledgerWith(0),
      { domains, bank, strays: ['secret'], rowCount: 0 },
      new Tally(),
    )
    assert.match(problems.join(), /secret belongs to nobody/)
    assert.match(problems.join(), /client 1 has never been here/)
  })
})
