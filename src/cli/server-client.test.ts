import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { createServerClient } from './server-client.ts'

test('a server that says nothing is given up, and asked for nothing', async () => {
  const asked: string[] = []
  const silent = createServer(({ method, url }) => void asked.push(`${method} ${url}`))
  await once(silent.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`
  const client = createServerClient({ url, greetingMs: 50 })
  const unreachable = {
    code: 'SERVER_UNREACHABLE',
    message: `the server at ${url} does not answer`,
  }
  try {
    await assert.rejects(client.createTenant('acme'), unreachable)
    await assert.rejects(client.connect('acme', 'pgnap dump'), unreachable)
    assert.deepEqual(asked, ['GET /healthz'])
  } finally {
    silent.closeAllConnections()
    silent.close()
  }
})
