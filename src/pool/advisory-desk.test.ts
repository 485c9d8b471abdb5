import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AdvisoryLock } from '../engine/advisory-locks.ts'
import { utf8 } from '../base/bytes.ts'
import { AdvisoryDesk } from './advisory-desk.ts'
import type { LiveClient, LiveTenant } from './pool-client.ts'

const lockOn = (second: number): AdvisoryLock => ({
  kind: 'one',
  first: 0,
  second,
  isShared: false,
})
const batch = (second: number) => ({ lock: lockOn(second), messages: utf8('said'), complete: true })

/** Clients of one tenant, who hold locks as it is said here. */
class Table {
  readonly desk = new AdvisoryDesk()
  readonly holders = new Map<number, LiveClient>()
  readonly ran: string[] = []
  readonly tenant = {
    slot: undefined,
    sessions: {
      holdersOf: ({ second }: AdvisoryLock, client: LiveClient) => {
        const holder = this.holders.get(second)
        return holder && holder !== client ? [holder] : []
      },
    },
  } as unknown as LiveTenant

  client(name: string): LiveClient {
    const run = (): Uint8Array => {
      this.ran.push(name)
      return utf8(name)
    }
    return { tenant: this.tenant, run, giveUpLock: undefined } as unknown as LiveClient
  }

  /** Until what was reviewed has been carried out. */
  async review(): Promise<void> {
    this.desk.review(this.tenant)
    await Promise.resolve()
  }
}

test('who waits goes on when the lock is free, in order, and not before', async () => {
  const table = new Table()
  const [one, two, three] = ['one', 'two', 'three'].map((name) => table.client(name))
  assert.ok(one && two && three)
  table.holders.set(1, three)
  const [first, second] = [table.desk.wait(one, batch(1)), table.desk.wait(two, batch(1))]
  await table.review()
  assert.deepEqual(table.ran, [])
  assert.ok(one.giveUpLock)
  table.holders.delete(1)
  one.run = () => {
    table.holders.set(1, one)
    table.ran.push('one')
    return utf8('one')
  }
  await table.review()
  assert.deepEqual(table.ran, ['one'], 'it has it now')
  assert.deepEqual(await first, utf8('one'))
  assert.equal(one.giveUpLock, undefined)
  table.holders.delete(1)
  await table.review()
  assert.deepEqual(await second, utf8('two'))
  await table.review()
  assert.deepEqual(table.ran, ['one', 'two'])
})

test('who gives up is told why, and is not run', async () => {
  const table = new Table()
  const one = table.client('one')
  table.holders.set(1, table.client('other'))
  const waiting = table.desk.wait(one, batch(1))
  one.giveUpLock?.(new Error('enough') as never)
  await assert.rejects(waiting, /enough/)
  table.holders.clear()
  await table.review()
  assert.deepEqual(table.ran, [])
})

test('a circle is refused for whoever closes it, however long it is', async () => {
  const table = new Table()
  const clients = ['a', 'b', 'c', 'd'].map((name) => table.client(name))
  for (const [index, client] of clients.entries()) table.holders.set(index, client)
  const [a, b, c, d] = clients
  assert.ok(a && b && c && d)
  void table.desk.wait(a, batch(1))
  void table.desk.wait(b, batch(2))
  void table.desk.wait(c, batch(3))
  await assert.rejects(table.desk.wait(d, batch(0)), { code: 'DEADLOCK' })
  assert.equal(d.giveUpLock, undefined)
  assert.ok(a.giveUpLock, 'the others wait')
})
