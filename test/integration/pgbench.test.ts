/**
 * pgbench as a test of correctness: its own tables, its own transactions, in each protocol mode.
 * Sums are compared, not times.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connectPg, missing, runClient } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const skip = missing('pgbench')
const TENANTS = 8

const folder = temporaryFolder()
/** TPC-B on accounts that are there. */
const TRANSFER = join(folder.path, 'transfer.sql')
writeFileSync(
  TRANSFER,
  `\\set account random(1, 1000) * 100
\\set teller random(1, 10)
\\set delta random(-5000, 5000)
begin;
update pgbench_accounts set abalance = abalance + :delta where aid = :account;
update pgbench_tellers set tbalance = tbalance + :delta where tid = :teller;
update pgbench_branches set bbalance = bbalance + :delta where bid = 1;
insert into pgbench_history (tid, bid, aid, delta, mtime)
  values (:teller, 1, :account, :delta, now());
commit;
`,
)

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '2'] })
})
after(async () => {
  await server[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

/** Runs pgbench, which must report no failed transaction; the number that it has done. */
async function pgbench(tenant: string, ...words: string[]): Promise<number> {
  const { status, stdout, stderr } = await runClient('pgbench', words, server, tenant)
  assert.equal(status, 0, stderr)
  if (words.includes('-i')) return 0
  assert.match(stdout, /number of failed transactions: 0 /)
  return Number(/actually processed: (\d+)/.exec(stdout)?.[1])
}

/**
 * Every transaction moves one amount in four tables: their sums are the same, whatever happened.
 */
async function checkSums(tenant: string, transactions: number): Promise<void> {
  await using connection = await connectPg(server, tenant)
  const { rows } = await connection.client.query<Record<string, string>>(`
    select (select sum(abalance) from pgbench_accounts) as accounts,
           (select sum(bbalance) from pgbench_branches) as branches,
           (select sum(tbalance) from pgbench_tellers) as tellers,
           (select sum(delta) from pgbench_history) as history,
           (select count(*) from pgbench_history) as count`)
  const [row] = rows
  assert.ok(row)
  assert.equal(row['count'], String(transactions))
  assert.equal(row['accounts'], row['history'])
  assert.equal(row['branches'], row['history'])
  assert.equal(row['tellers'], row['history'])
}

test('initialisation, selects and TPC-B in every protocol mode', { skip }, async () => {
  await pgbench('bank', '-i', '-s', '1', '-q')
  // Without -n it vacuums two tables and empties the history before it begins.
  assert.equal(await pgbench('bank', '-t', '10'), 10)
  let transactions = 10
  for (const mode of ['simple', 'extended', 'prepared']) {
    assert.equal(await pgbench('bank', '-S', '-M', mode, '-n', '-t', '200'), 200)
    transactions += await pgbench('bank', '-M', mode, '-n', '-t', '50')
  }
  assert.equal(transactions, 160)
  await checkSums('bank', transactions)
})

test('several clients of one tenant take turns and lose nothing', { skip }, async () => {
  await pgbench('shared', '-i', '-s', '1', '-q')
  assert.equal(await pgbench('shared', '-n', '-c', '4', '-j', '2', '-t', '25', '-M', 'simple'), 100)
  await checkSums('shared', 100)
})

test(`one client on each of ${TENANTS} tenants at once`, { skip }, async () => {
  const tenants = Array.from({ length: TENANTS }, (_, index) => `bank-${index}`)
  await Promise.all(
    tenants.map(async (tenant) => {
      await pgbench(tenant, '-i', '-I', 'dtp', '-q')
      await using connection = await connectPg(server, tenant)
      // A hundredth of pgbench's own data, so that eight of them are made in no time.
      await connection.client.query(`
        insert into pgbench_branches values (1, 0);
        insert into pgbench_tellers select n, 1, 0 from generate_series(1, 10) n;
        insert into pgbench_accounts select n, 1, 0 from generate_series(100, 100000, 100) n`)
      assert.equal(await pgbench(tenant, '-M', 'prepared', '-S', '-n', '-t', '100'), 100)
      assert.equal(await pgbench(tenant, '-M', 'extended', '-f', TRANSFER, '-n', '-t', '40'), 40)
      await checkSums(tenant, 40)
    }),
  )
})
