import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { SeededRandom } from '../../base/random.ts'
import { fromBase64, makeVerifier, toBase64 } from '../../router/scram-verifier.ts'
import { ScramExchange, mockVerifier } from './scram.ts'

const random = new SeededRandom(1)

/** The client's side, written against the RFC with another library. */
function clientFinal(password: string, bare: string, serverFirst: string, header = 'n,,') {
  const [, nonce = '', salt = '', count = ''] = /r=(.*),s=(.*),i=(.*)/.exec(serverFirst) ?? []
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(count), 32, 'sha256')
  const sign = (key: Buffer, text: string): Buffer =>
    createHmac('sha256', key).update(text).digest()
  const clientKey = sign(salted, 'Client Key')
  const storedKey = createHash('sha256').update(clientKey).digest()
  const withoutProof = `c=${Buffer.from(header).toString('base64')},r=${nonce}`
  const message = `${bare},${serverFirst},${withoutProof}`
  const signature = sign(storedKey, message)
  const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)))
  const serverSignature = sign(sign(salted, 'Server Key'), message).toString('base64')
  return {
    final: `${withoutProof},p=${proof.toString('base64')}`,
    serverFinal: `v=${serverSignature}`,
  }
}

suite('SCRAM-SHA-256', () => {
  test('the exchange of RFC 7677, section 3', async () => {
    const salt = fromBase64('W22ZaJ0SNY7soEsUEjb6gQ==')
    assert.ok(salt)
    const verifier = await makeVerifier('pencil', random, { salt })
    const exchange = new ScramExchange(verifier, random, '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0')
    assert.equal(
      exchange.first(Buffer.from('n,,n=user,r=rOprNGfwEbeRWgbNEkqO')),
      'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    )
    const final =
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,' +
      'p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ='
    assert.equal(
      await exchange.final(Buffer.from(final)),
      'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
    )
  })

  test('a right password passes and proves the server, a wrong one does not', async () => {
    const verifier = await makeVerifier('pässwörd\u00a0', random, { iterations: 5 })
    for (const [password, passes] of [
      ['pässwörd ', true],
      ['passwort', false],
    ] as const) {
      const exchange = new ScramExchange(verifier, random)
      const first = exchange.first(Buffer.from('y,,n=,r=abc'))
      const client = clientFinal(password, 'n=,r=abc', first, 'y,,')
      const answer = await exchange.final(Buffer.from(client.final))
      assert.equal(answer, passes ? client.serverFinal : undefined)
    }
  })

  test('malformed messages are refused, whatever they are', async () => {
    const verifier = await mockVerifier('x', new Uint8Array(32))
    const begin = (): ScramExchange => new ScramExchange(verifier, random)
    for (const first of [
      '',
      'n,,',
      'p=x,,n=,r=a',
      'n,a=b,n=,r=a',
      'n,,m=1,n=,r=a',
      'n,,n=,r=',
      'n,,r=a',
    ]) {
      assert.throws(() => begin().first(Buffer.from(first)), { name: 'PgnapError' }, first)
    }
    const proof = toBase64(new Uint8Array(32))
    for (const final of [
      '',
      'c=biws',
      'c=biws,r=other,p=AAAA',
      `c=eSws,r=NONCE,p=${proof}`,
      'c=biws,r=NONCE,p=AAAA',
      'c=biws,r=NONCE,p=@',
    ]) {
      const exchange = begin()
      const nonce = /r=([^,]*)/.exec(exchange.first(Buffer.from('n,,n=,r=a')))?.[1] ?? ''
      await assert.rejects(
        exchange.final(Buffer.from(final.replace('NONCE', nonce))),
        { code: 'PROTOCOL_VIOLATION' },
        final,
      )
    }
    await fc.assert(
      fc.asyncProperty(fc.uint8Array(), fc.uint8Array(), async (first, final) => {
        const exchange = begin()
        assert.throws(() => exchange.first(first), { name: 'PgnapError' })
        await assert.rejects(exchange.final(final), { name: 'PgnapError' })
      }),
    )
  })

  test('an unknown user has the same salt every time, and another user another', async () => {
    const secret = new Uint8Array(32).fill(7)
    const [a, again, b] = [
      await mockVerifier('a', secret),
      await mockVerifier('a', secret),
      await mockVerifier('b', secret),
    ]
    assert.deepEqual(a, again)
    assert.notDeepEqual(a.salt, b.salt)
    assert.equal(a.salt.length, 16)
    assert.equal(a.iterations, 4096)
  })
})
