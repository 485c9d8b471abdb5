import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { loadDuplicate } from '../../src/host/node/handover/descriptors.ts'
import type { HandoverMode } from '../../src/host/node/handover/handover.ts'
import { TestClient } from './handover-client.ts'
import { patternBytes } from './handover-pattern.ts'
import { descriptorCount, eventually, LAST_BYTES, startServer } from './handover-server.ts'
import type { TestServer } from './handover-server.ts'

const MIB = 1024 * 1024
const TIMEOUT_MS = 30_000
const LAST = String(LAST_BYTES)
const modes: readonly HandoverMode[] = ['descriptor', 'ring']

/**
 * One whole life of a connection. A thread's first socket makes libuv open a descriptor that it
 * keeps in reserve, so descriptors are compared between threads that have all served somebody.
 */
async function serveOne(server: TestServer, shardIndex: number): Promise<void> {
  const { openCount } = server.handover
  const client = await TestClient.connect(server.port, `one ${shardIndex}\n`)
  assert.equal(await client.ask('echo a', 'one:a\n'), 'one:a\n')
  client.socket.end()
  await client.closed()
  await eventually(() => server.handover.openCount <= openCount)
}

for (const mode of modes) {
  const canRun = mode === 'ring' || loadDuplicate() !== undefined
  const skip = canRun ? false : 'this Node cannot duplicate descriptors'
  const options = { skip, timeout: TIMEOUT_MS }

  test(`${mode}: clients of a dead shard hear why, others notice nothing`, options, async () => {
    await using server = await startServer(mode)
    const survivor = await TestClient.connect(server.port, 's 1\n')
    assert.equal(await survivor.ask('echo a', 's:a\n'), 's:a\n')
    await serveOne(server, 0)
    const before = descriptorCount()
    const victims = await Promise.all(
      Array.from({ length: 20 }, (_, index) => TestClient.connect(server.port, `v${index} 0\n`)),
    )
    for (const [index, victim] of victims.entries()) {
      assert.equal(await victim.ask('echo a', `v${index}:a\n`), `v${index}:a\n`)
    }
    // It has answered, so each of those answers is known to be whole.
    await server.statistics(0)
    await server.killShard(0)
    for (const victim of victims) {
      assert.equal(String(await victim.readToEnd()), LAST)
      assert.ok(victim.hasEnded)
      victim.socket.end()
    }
    assert.equal(await survivor.ask('echo b', 's:b\n'), 's:b\n')
    await serveOne(server, 0)
    await eventually(() => server.handover.openCount === 1)
    await eventually(() => descriptorCount() <= before)
  })

  test(`${mode}: an answer cut short is not followed by anything`, options, async () => {
    await using server = await startServer(mode, 1)
    const client = await TestClient.connect(server.port, 'c 0\n')
    assert.equal(await client.ask('echo a', 'c:a\n'), 'c:a\n')
    client.socket.pause()
    client.socket.write(`big ${32 * MIB}\n`)
    await eventually(async () => (await server.statistics(0)).bufferedBytes > 0)
    await server.killShard(0)
    client.socket.resume()
    const answer = await client.readToEnd()
    assert.ok(answer.length < 32 * MIB)
    assert.ok(answer.equals(patternBytes(32 * MIB).subarray(0, answer.length)))
    client.socket.end()
    await eventually(() => server.handover.openCount === 0)
  })

  test(
    `${mode}: a shard that dies before it takes a connection leaks nothing`,
    options,
    async () => {
      await using server = await startServer(mode, 1)
      const before = descriptorCount()
      for (let round = 0; round < 3; round++) {
        await server.freeze(0)
        const clients = await Promise.all(
          Array.from({ length: 10 }, () => TestClient.connect(server.port, 'c 0\necho a\n')),
        )
        await eventually(() => server.handover.openCount === clients.length)
        await server.killShard(0)
        for (const client of clients) {
          assert.equal(String(await client.readToEnd()), LAST)
          client.socket.end()
        }
        await eventually(() => server.handover.openCount === 0)
      }
      await server.statistics(0)
      await eventually(() => descriptorCount() <= before)
    },
  )

  test(`${mode}: a shard killed at any moment of a rush`, options, async () => {
    await using server = await startServer(mode, 1)
    await serveOne(server, 0)
    const before = descriptorCount()
    for (let round = 0; round < 6; round++) {
      const rush = Array.from({ length: 24 }, async (_, index) => {
        const client = await TestClient.connect(server.port, `r${index} 0\necho a\n`)
        const answer = String(await client.readToEnd())
        const possible = [`r${index}:a\n${LAST}`, LAST]
        assert.ok(possible.includes(answer), JSON.stringify(answer))
        client.socket.destroy()
      })
      // Different rounds meet different moments: nobody served yet, some, all.
      await eventually(() => server.handover.openCount >= round * 4)
      await server.killShard(0)
      // Whoever came after the kill is served by the next thread, and has to meet its end there.
      let isOver = false
      const over = Promise.all(rush).finally(() => (isOver = true))
      await eventually(async () => {
        if (!isOver && server.handover.openCount > 0) await server.killShard(0)
        return isOver
      })
      await over
    }
    await eventually(() => server.handover.openCount === 0)
    await serveOne(server, 0)
    await eventually(() => descriptorCount() <= before)
  })
}
