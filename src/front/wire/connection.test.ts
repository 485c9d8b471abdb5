import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '../../base/clock.ts'
import { PgnapError } from '../../base/errors.ts'
import { HeldBytes } from '../../base/held-bytes.ts'
import { LIMITS } from '../../base/limits.ts'
import { silentLog } from '../../base/log.ts'
import { SeededRandom } from '../../base/random.ts'
import { makeVerifier } from '../../router/scram-verifier.ts'
import { WireConnection } from './connection.ts'
import {
  FakeGateway,
  type FakeGatewayOptions,
  FakeLink,
  split,
} from '../../../test/support/fake-gateway.ts'
import { say } from '../../../test/support/messages.ts'

const GREETING = `R ${'S '.repeat(15)}K ZI`
const PEER = { address: '', port: 0, localAddress: '', localPort: 0 }
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

function open(
  options: FakeGatewayOptions & { processId?: number; webSocket?: boolean; held?: HeldBytes } = {},
) {
  const link = new FakeLink()
  const gateway = new FakeGateway(options)
  const clock = new ManualClock()
  const cancels: [number, string][] = []
  let closedCount = 0
  const connection = new WireConnection({
    link,
    gateway,
    clock,
    random: new SeededRandom(1),
    log: silentLog,
    serverVersion: '18.1',
    onCancelRequest: (processId, secret) =>
      cancels.push([processId, Buffer.from(secret).toString('hex')]),
    onClosed: () => void closedCount++,
    processId: options.processId ?? 77,
    held: options.held,
    peer: { ...PEER, webSocket: options.webSocket ?? false },
  })
  return { link, gateway, clock, connection, cancels, closedCount: () => closedCount }
}

/** Lets promises of the connection and of the platform's cryptography settle. */
async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 10_000 && !condition(); turn++) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.ok(condition(), 'it happens')
}

suite('startup', () => {
  test('greets with settings, a key and ReadyForQuery', async () => {
    const { link, connection, gateway } = open()
    connection.receive(say.startup({ user: 'ann', database: 'acme' }))
    await until(() => connection.idle)
    assert.equal(link.summary(), GREETING)
    const text = Buffer.from(link.bytes()).toString('latin1')
    assert.ok(text.includes('server_version\x0018.1\0'))
    assert.ok(text.includes('K\0\0\0\x0c\0\0\0\x4d'), 'the process id that the host gave')
    assert.equal(connection.secret.length, 4)
    assert.equal(gateway.requests[0]?.tenant, 'acme')
    assert.deepEqual(gateway.clients[0]?.batches, [], 'a client without settings wakes nobody')
  })

  test('applies settings in one batch and reports what the backend reports', async () => {
    const { link, connection, gateway } = open()
    connection.receive(
      say.startup({
        user: 'a',
        application_name: `it's`,
        DateStyle: 'German',
        options: '-c work_mem=1MB',
      }),
    )
    await until(() => connection.idle)
    assert.deepEqual(gateway.clients[0]?.batches, ['Q|'])
    assert.equal(gateway.requests[0]?.applicationName, `it's`)
    const text = Buffer.from(link.bytes()).toString()
    assert.ok(text.includes('datestyle\0German\0'))
    assert.ok(text.includes(`application_name\0it's\0`))
  })

  test('an invalid setting is FATAL with the SQLSTATE of the backend', async () => {
    const { link, connection, gateway } = open()
    connection.receive(say.startup({ user: 'a', timezone: 'invalid' }))
    await until(() => link.ended)
    assert.equal(link.summary(), 'FATAL:22023')
    await until(() => gateway.clients[0]?.closed === true)
  })

  test('an unknown tenant is FATAL 3D000 with its hint', async () => {
    const { link, connection, gateway } = open()
    gateway.connectError = new PgnapError('TENANT_UNKNOWN', 'no such tenant', {
      hint: 'pgnap tenant create',
    })
    connection.receive(say.startup({ user: 'a', database: 'nobody' }))
    await until(() => link.ended)
    assert.equal(link.summary(), 'FATAL:3D000')
    assert.ok(Buffer.from(link.bytes()).toString().includes('Hpgnap tenant create\0'))
  })

  test('encryption is refused once', () => {
    const { link, connection } = open()
    connection.receive(SSL_REQUEST)
    assert.deepEqual([...link.bytes()], [0x4e])
    connection.receive(SSL_REQUEST)
    assert.equal(link.summary(1), 'FATAL:08P01')
  })

  test('protocol 3.2 has long keys, newer ones are negotiated down to it', async () => {
    for (const [minor, negotiated] of [
      [2, false],
      [9999, true],
    ] as const) {
      const { link, connection } = open()
      connection.receive(say.startup({ user: 'a' }, (3 << 16) | minor))
      await until(() => connection.idle)
      assert.equal(link.summary(), `${negotiated ? 'v ' : ''}${GREETING}`)
      assert.equal(connection.secret.length, 32)
      if (negotiated) assert.deepEqual([...link.bytes().subarray(5, 13)], [0, 3, 0, 2, 0, 0, 0, 0])
    }
  })

  test('a cancel request is handed on and answered by nothing', () => {
    const { link, connection, cancels } = open()
    connection.receive(Buffer.from('0000001004d2162e0000004d01020304', 'hex'))
    assert.deepEqual(cancels, [[77, '01020304']])
    assert.deepEqual([link.bytes().length, link.ended], [0, true])
  })

  test('any split of startup and first queries gives the same bytes', async () => {
    const stream = Buffer.concat([
      SSL_REQUEST,
      say.startup({ user: 'a', application_name: 'x' }),
      say.query('select a'),
      say.query('copy t from stdin'),
      say.copyData('1\n'),
      say.copyDone(),
      say.terminate(),
    ])
    const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 8 })
    const expected = `${GREETING} D C(select) ZI G C(COPY 1) ZI`
    await fc.assert(
      fc.asyncProperty(cuts, fc.boolean(), async (cutAt, slowly) => {
        const { link, connection, gateway } = open()
        for (const part of split(stream, cutAt)) {
          connection.receive(part)
          if (slowly) await Promise.resolve()
        }
        await until(() => link.ended)
        assert.equal(link.summary(1), expected)
        assert.ok(gateway.clients[0]?.closed)
      }),
      { numRuns: 60 },
    )
  })

  test('bytes sent too early are kept, and above a limit not read', async () => {
    const { link, connection } = open({ later: true })
    connection.receive(say.startup({ user: 'a' }))
    connection.receive(say.query(`select ${'x'.repeat(LIMITS.startupPacketBytesMax)}`))
    assert.equal(link.paused, true)
    await until(() => link.sent.length > 0)
    assert.equal(link.paused, false)
  })
})

suite('endings', () => {
  test('a client that is too slow to say who it is must go', () => {
    const { link, connection, clock, closedCount } = open()
    connection.receive(Buffer.from([0]))
    clock.advance(LIMITS.authenticationMs)
    assert.equal(link.summary(), 'FATAL:57014')
    assert.equal(closedCount(), 1)
    clock.advance(LIMITS.lingerMs * 2)
    assert.equal(link.destroyed, false, 'whether it reads its last bytes is for the host to see')
  })

  test('a greeted client may think for ever', async () => {
    const { link, connection, clock } = open()
    connection.receive(say.startup({ user: 'a' }))
    await until(() => connection.idle)
    clock.advance(LIMITS.authenticationMs * 2)
    assert.equal(link.ended, false)
  })

  test('a link that closes while the gateway connects leaves no client behind', async () => {
    const { connection, gateway, link } = open()
    connection.receive(say.startup({ user: 'a' }))
    connection.linkClosed()
    await until(() => gateway.clients[0]?.closed === true)
    assert.equal(link.bytes().length, 0)
  })

  test('shutdown and a lost backend are FATAL at any time', async () => {
    const early = open()
    early.connection.shutdown(new PgnapError('SHUTTING_DOWN', 'bye'))
    assert.equal(early.link.summary(), 'FATAL:57P01')
    const late = open()
    late.connection.receive(say.startup({ user: 'a' }))
    await until(() => late.connection.idle)
    late.gateway.requests[0]?.events.lost(new PgnapError('SLOT_LOST', 'gone'))
    assert.equal(late.link.summary(), `${GREETING} FATAL:57P01`)
    assert.ok(late.gateway.clients[0]?.closed)
    assert.equal(late.closedCount(), 1)
  })

  test('cancel reaches the client of the backend', async () => {
    const { connection, gateway } = open()
    connection.cancel()
    connection.receive(say.startup({ user: 'a' }))
    await until(() => connection.idle)
    connection.cancel()
    assert.equal(gateway.clients[0]?.cancelled, 1)
  })

  test('random bytes end in order or wait, and never throw', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), fc.boolean(), async (bytes, scram) => {
        const { connection, link } = open({ authentication: scram ? 'scram' : 'trust' })
        connection.receive(say.startup({ user: 'a' }).subarray(0, scram ? undefined : 0))
        connection.receive(bytes)
        await Promise.resolve()
        connection.linkClosed()
        assert.equal(connection.idle, false)
        assert.ok(link.sent.length < 5)
      }),
    )
  })
})

suite('what is sent ahead of the greeting', () => {
  const startup = say.startup({ user: 'ann', database: 'acme' })
  const ahead = say.query(`select ${'x'.repeat(300_000)}`)

  test('counts until the session has it', async () => {
    const held = new HeldBytes(1_000_000)
    const { connection } = open({ held })
    connection.receive(Buffer.concat([startup, ahead.subarray(0, 200_000)]))
    assert.ok(held.bytes >= 200_000)
    await until(() => connection.idle)
    assert.equal(held.bytes, 200_000)
    connection.receive(ahead.subarray(200_000))
    assert.equal(held.bytes, 0)
  })

  test('is given up when others need the room, and when its client leaves', async () => {
    const held = new HeldBytes(500_000)
    const settings = say.startup({ user: 'ann', database: 'acme', DateStyle: 'German' })
    const first = open({ held, later: true })
    first.connection.receive(Buffer.concat([settings, ahead]))
    const second = open({ held, later: true })
    second.connection.receive(Buffer.concat([settings, ahead.subarray(0, 250_000)]))
    await until(() => first.closedCount() > 0)
    assert.equal(first.link.summary(), 'FATAL:53200')
    assert.equal(first.closedCount(), 1)
    second.connection.linkClosed()
    assert.equal(held.bytes, 0)
  })
})

suite('passwords', () => {
  const hmac = (key: Buffer, text: string): Buffer =>
    createHmac('sha256', key).update(text).digest()

  async function login(user: string, password: string) {
    const verifier = await makeVerifier('secret', new SeededRandom(2), { iterations: 10 })
    const opened = open({ authentication: 'scram', verifiers: { ann: verifier } })
    const { link, connection } = opened
    connection.receive(say.startup({ user, database: 'acme' }))
    await until(() => link.sent.length === 1)
    assert.equal(Buffer.from(link.bytes()).toString('latin1', 5), '\0\0\0\x0aSCRAM-SHA-256\0\0')
    const bare = 'n=,r=clientnonce'
    const first = `n,,${bare}`
    connection.receive(
      say.password((w) => w.string('SCRAM-SHA-256').int32(first.length).text(first)),
    )
    await until(() => link.sent.length === 2)
    const serverFirst = Buffer.from(link.sent[1] ?? []).toString('utf8', 9)
    const [, nonce = '', salt = '', count = ''] = /r=(.*),s=(.*),i=(.*)/.exec(serverFirst) ?? []
    const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(count), 32, 'sha256')
    const clientKey = hmac(salted, 'Client Key')
    const storedKey = createHash('sha256').update(clientKey).digest()
    const withoutProof = `c=biws,r=${nonce}`
    const signature = hmac(storedKey, `${bare},${serverFirst},${withoutProof}`)
    const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)))
    connection.receive(say.password((w) => w.text(`${withoutProof},p=${proof.toString('base64')}`)))
    await until(() => link.sent.length >= 3)
    return { ...opened, salt }
  }

  test('the right one opens the door', async () => {
    const { link, connection } = await login('ann', 'secret')
    await until(() => connection.idle)
    assert.equal(link.summary(), `R R R ${GREETING}`)
  })

  test('a wrong one and an unknown user are told the same, before any connect', async () => {
    const wrong = await login('ann', 'guess')
    const unknown = await login('bob', 'guess')
    for (const { link, gateway } of [wrong, unknown]) {
      assert.equal(link.summary(), 'R R FATAL:28P01')
      assert.equal(gateway.requests.length, 0)
    }
    assert.equal(wrong.salt.length, unknown.salt.length)
  })

  test('who ends its side before it was asked is not waited for', async () => {
    const { link, connection } = open({ authentication: 'scram' })
    connection.receive(say.startup({ user: 'ann' }))
    connection.linkEnded()
    await until(() => link.ended)
    assert.equal(link.summary(), 'R')
  })

  test('a limiter is asked before a password is looked at, and before it is right', async () => {
    const verifier = await makeVerifier('right', new SeededRandom(2))
    const link = new FakeLink()
    const gateway = new FakeGateway({ authentication: 'scram', verifiers: { ann: verifier } })
    const heard: string[] = []
    let isFull = false
    const connection = new WireConnection({
      link,
      gateway,
      clock: new ManualClock(),
      random: new SeededRandom(1),
      log: silentLog,
      serverVersion: '18.1',
      peer: { ...PEER, address: '192.0.2.1', webSocket: true },
      limiter: {
        check: ({ address, user, database }) => {
          heard.push(`${address} ${user} ${database}`)
          if (isFull) throw new PgnapError('LOGIN_LIMITED', 'too many')
        },
        failed: () => heard.push('failed'),
      },
    })
    connection.receive(say.startup({ user: 'ann', database: 'acme' }))
    await until(() => link.sent.length === 1)
    connection.receive(say.password((w) => w.string('right')))
    await until(() => heard.length === 1)
    isFull = true
    await until(() => link.ended)
    assert.deepEqual(heard, ['192.0.2.1 ann acme', '192.0.2.1 ann acme'])
    assert.equal(link.summary(), 'R FATAL:53400')
    assert.equal(gateway.requests.length, 0)
  })

  test('anything but a password message is refused', async () => {
    for (const message of [
      say.query('select a'),
      say.password((w) => w.string('PLAIN').int32(-1)),
    ]) {
      const { link, connection } = open({ authentication: 'scram' })
      connection.receive(say.startup({ user: 'a' }))
      await until(() => link.sent.length === 1)
      connection.receive(message)
      await until(() => link.ended)
      assert.match(link.summary(), /^R FATAL:(08P01|28000)$/)
    }
  })

  test('a password message too long is refused by its length alone', async () => {
    const { link, connection } = open({ authentication: 'scram' })
    connection.receive(say.startup({ user: 'a' }))
    await until(() => link.sent.length === 1)
    const head = Buffer.from('p\0\0\0\0', 'latin1')
    head.writeInt32BE(LIMITS.startupPacketBytesMax + 1, 1)
    connection.receive(head)
    assert.equal(link.summary(), 'R FATAL:08P01')
  })
})

suite('passwords inside of a WebSocket', () => {
  const CLEARTEXT = 'R\0\0\0\x08\0\0\0\x03'
  const password = (text: string): Uint8Array => say.password((w) => w.string(text))

  test('under trust any password is asked for and taken, with what came behind it', async () => {
    const { link, connection, gateway } = open({ webSocket: true })
    const early = [say.startup({ user: 'ann' }), password('x'), say.query('select hello')]
    connection.receive(Buffer.concat(early))
    await until(() => connection.idle && gateway.clients[0]?.batches.length === 1)
    assert.ok(Buffer.from(link.bytes()).toString('latin1').startsWith(CLEARTEXT))
    assert.match(link.summary(), /^R R (S )+K ZI D C\(select\) ZI$/)
  })

  for (const [user, text, isRight] of [
    ['ann', 'right', true],
    ['ann', 'wrong', false],
    ['ann', '', false],
    ['bob', 'right', false],
  ] as const) {
    test(`with users: "${text}" of ${user} is ${isRight ? 'right' : 'refused'}`, async () => {
      const ann = await makeVerifier('right', new SeededRandom(2))
      const options = { authentication: 'scram', verifiers: { ann }, webSocket: true } as const
      const { link, connection, gateway } = open(options)
      connection.receive(say.startup({ user }))
      await until(() => link.bytes().length > 0)
      assert.equal(Buffer.from(link.bytes()).toString('latin1'), CLEARTEXT)
      connection.receive(password(text))
      await until(() => connection.idle || link.ended)
      assert.equal(gateway.clients.length, isRight ? 1 : 0)
      const failure = `password authentication failed for user "${user}"`
      assert.equal(Buffer.from(link.bytes()).includes(failure), !isRight)
    })
  }

  test('a query before the password is a violation', async () => {
    const { link, connection, gateway } = open({ webSocket: true })
    connection.receive(Buffer.concat([say.startup({ user: 'ann' }), say.query('select x')]))
    await until(() => link.ended)
    assert.equal(gateway.clients.length, 0)
  })
})
