import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync } from 'node:fs'
import { type AddressInfo, type Socket, createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { type TLSSocket, connect as connectTls } from 'node:tls'
import { ManualClock } from '../../../base/clock.ts'
import { silentLog } from '../../../base/log.ts'
import { directTls, plainSocket } from '../../../../test/support/raw-tls.ts'
import { testFolder } from '../../../../test/support/temporary-folder.ts'
import { OTHER_FILES, SERVER_FILES } from '../../../../test/support/tls-files.ts'
import { Identity } from './identity.ts'
import { WireTls } from './wire-tls.ts'

const TIMEOUT_MS = 1000

const folder = testFolder()
const files = { tlsCert: join(folder, 'now.crt'), tlsKey: join(folder, 'now.key') }
const put = ({ tlsCert, tlsKey }: typeof SERVER_FILES): void => {
  copyFileSync(tlsCert, files.tlsCert)
  copyFileSync(tlsKey, files.tlsKey)
}
put(SERVER_FILES)

const clock = new ManualClock()
const identity = new Identity(files)
const reasons: unknown[] = []
const log = {
  ...silentLog,
  debug: (_message: string, fields?: object) =>
    void reasons.push((fields as { reason: unknown } | undefined)?.reason),
}
const tls = new WireTls({ identity, clock, log })

/** The next socket that was accepted, and what it becomes. */
let accepted = Promise.withResolvers<Socket>()
let secured = Promise.withResolvers<TLSSocket>()
const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => {})
  socket.pause()
  tls.secure(socket, { isDirect: true, timeoutMs: TIMEOUT_MS }, secured.resolve)
  accepted.resolve(socket)
})
let target: AddressInfo

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  target = server.address() as AddressInfo
})
after(() => server.close())
beforeEach(() => {
  accepted = Promise.withResolvers<Socket>()
  secured = Promise.withResolvers<TLSSocket>()
  reasons.length = 0
})

const closed = async (socket: Socket): Promise<void> => {
  // Not `once`: how it broke does not matter here.
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
}

test('a client that stalls in its handshake is closed when its time is over', async () => {
  const client = await plainSocket(target)
  client.write(Uint8Array.of(0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3))
  const socket = await accepted.promise
  clock.advance(TIMEOUT_MS - 1)
  assert.equal(socket.destroyed, false)
  clock.advance(1)
  await closed(socket)
  client.resume()
  await closed(client)
  assert.deepEqual(reasons, ['ECONNRESET'])
})

test('a client that ends in its handshake is closed at once', async () => {
  const client = await plainSocket(target)
  client.end(Uint8Array.of(0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3))
  client.resume()
  await closed(await accepted.promise)
  await closed(client)
  assert.equal(reasons.length, 1)
})

test('the time of the handshake does not run on inside', async () => {
  const client = await directTls(target)
  const inside = await secured.promise
  clock.advance(2 * TIMEOUT_MS)
  inside.write('there')
  const [chunk] = (await once(client, 'data')) as [Buffer]
  assert.equal(String(chunk), 'there')
  client.destroy()
  await closed(await accepted.promise)
})

test('what is no record of TLS closes a connection that may be half-closed', async () => {
  const raw = await plainSocket(target)
  const client = connectTls({
    socket: raw,
    ALPNProtocols: ['postgresql'],
    rejectUnauthorized: false,
  })
  client.on('error', () => {})
  const inside = await secured.promise
  inside.allowHalfOpen = true
  inside.resume()
  raw.write('no record of TLS')
  await closed(inside)
  await closed(await accepted.promise)
  client.destroy()
})

test('direct TLS without ALPN is closed', async () => {
  const client = await directTls(target, { ALPNProtocols: [] })
  client.resume()
  await closed(client)
  await closed(await accepted.promise)
  assert.deepEqual(reasons, ['direct TLS without ALPN postgresql'])
})

test('a renewed certificate is shown to those who come', async () => {
  const subjectOf = (client: TLSSocket): string => String(client.getPeerCertificate().subject.CN)
  const old = await directTls(target)
  assert.match(subjectOf(old), /test-only server/)
  const inside = await secured.promise
  put(OTHER_FILES)
  identity.renew()
  const next = await directTls(target, { rejectUnauthorized: false })
  assert.match(subjectOf(next), /test-only other/)
  inside.write('still')
  const [chunk] = (await once(old, 'data')) as [Buffer]
  assert.equal(String(chunk), 'still')
  old.destroy()
  next.destroy()
})
