/**
 * What one isolate of the default Worker has in memory by its own account (docs/memory.md) while
 * many tenants are asked by turns: the most that it ever said. What the platform would count is not
 * to be had on one's own machine; this is what pgnap evicts by.
 */
import assert from 'node:assert/strict'
import type { WorkerFiles } from '../../scripts/cloudflare/bundle.ts'
import { type RunningWorker, startWorker } from '../../scripts/cloudflare/local.ts'
import type { IsolatePoolFacts } from '../../src/host/cloudflare/isolate-facts.ts'
import type { AccountedMemory } from './results.ts'

const ROWS = 200
const FILL = `create table t as select g as id, 'value of row ' || g as v
  from generate_series(1, ${ROWS}) g`
/** Times that each tenant is asked when all of them are there: those that were dropped boot. */
const TURNS = 2

export async function accounted(files: WorkerFiles, tenants: number): Promise<AccountedMemory> {
  await using worker = await startWorker(files)
  const names = Array.from({ length: tenants }, (_, index) => `tenant-${index}`)
  let bytes = 0
  const ask = async (tenant: string, sql: string): Promise<void> => {
    await query(worker, tenant, sql)
    bytes = Math.max(bytes, await accountedBytes(worker))
  }
  for (const name of names) await ask(name, FILL)
  for (let turn = 0; turn < TURNS; turn++) {
    for (const name of names) await ask(name, 'select count(*) from t')
  }
  return { tenants, bytes }
}

async function query({ url }: RunningWorker, tenant: string, sql: string): Promise<void> {
  const body = JSON.stringify({ sql })
  const path = `/v1/tenants/${tenant}/query`
  const answer = await fetch(new URL(path, url), { method: 'POST', body })
  const text = await answer.text()
  assert.ok(answer.ok, text)
}

async function accountedBytes({ url }: RunningWorker): Promise<number> {
  const pool = (await (await fetch(new URL('/v1/pool', url))).json()) as IsolatePoolFacts
  assert.ok(pool.isolate, 'an isolate that has served tenants tells of itself')
  return pool.isolate.accountedBytes
}
