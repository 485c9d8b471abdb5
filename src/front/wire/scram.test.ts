import assert from 'node:assert/strict'
import { describe, suite, test } from 'node:test'
import fc from 'fast-check'
import { clientFinal } from '../../../test/support/scram-client.ts'
import { SeededRandom } from '../../base/random.ts'
import { fromBase64, makeVerifier, toBase64 } from '../../router/scram-verifier.ts'
import { type ChannelBinding, ScramExchange, mockVerifier } from './scram.ts'

const random = new SeededRandom(1)

suite('SCRAM-SHA-256', () => {
  test('the exchange of RFC 7677, section 3', async () => {
    const salt = fromBase64('W22ZaJ0SNY7soEsUEjb6gQ==')
    assert.ok(salt)
    const verifier = await makeVerifier('pencil', random, { salt })
    const exchange = new ScramExchange({
      verifier,
      random,
      serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
    })
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
      const exchange = new ScramExchange({ verifier, random })
      const first = exchange.first(Buffer.from('y,,n=,r=abc'))
      const header = Buffer.from('y,,')
      const client = clientFinal({ password, bare: 'n=,r=abc', serverFirst: first, header })
      const answer = await exchange.final(Buffer.from(client.final))
      assert.equal(answer, passes ? client.serverFinal : undefined)
    }
  })

  describe('channel binding', async () => {
    const endPoint = Uint8Array.from({ length: 32 }, (_, index) => 7 * index)
    const verifier = await makeVerifier('secret', random, { iterations: 5 })
    const exchangeOf = (binding: ChannelBinding): ScramExchange =>
      new ScramExchange({ verifier, random, binding })
    /** Plays an exchange to its end; the client has seen `bound`. */
    const play = async (
      binding: ChannelBinding,
      flag: string,
      bound: Uint8Array = new Uint8Array(0),
    ): Promise<boolean> => {
      const exchange = exchangeOf(binding)
      const serverFirst = exchange.first(Buffer.from(`${flag},,n=,r=abc`))
      const header = Buffer.concat([Buffer.from(`${flag},,`), bound])
      const client = clientFinal({ password: 'secret', bare: 'n=,r=abc', serverFirst, header })
      return (await exchange.final(Buffer.from(client.final))) === client.serverFinal
    }
    const chosen = { isChosen: true, endPoint }
    const offered = { isChosen: false, endPoint }
    const notOffered = { isChosen: false, endPoint: undefined }
    const FLAG = 'p=tls-server-end-point'

    test('the certificate that was shown passes, and no other', async () => {
      assert.equal(await play(chosen, FLAG, endPoint), true)
      for (const other of [endPoint.subarray(1), new Uint8Array(0), endPoint.toReversed()]) {
        await assert.rejects(play(chosen, FLAG, other), { code: 'CHANNEL_BINDING_FAILED' })
      }
    })

    test('whoever does not choose it must say so, and bind nothing', async () => {
      assert.equal(await play(offered, 'n'), true)
      assert.equal(await play(notOffered, 'n'), true)
      assert.equal(await play(notOffered, 'y'), true)
      await assert.rejects(play(offered, 'n', endPoint), { code: 'PROTOCOL_VIOLATION' })
    })

    test('a client that was not told of the offer has somebody in between', async () => {
      await assert.rejects(play(offered, 'y'), {
        code: 'CHANNEL_BINDING_FAILED',
        message: 'SCRAM channel binding negotiation error',
      })
    })

    test('the mechanism and the flag must agree, and the type be ours', () => {
      for (const [binding, flag] of [
        [chosen, 'n'],
        [chosen, 'y'],
        [offered, FLAG],
        [notOffered, FLAG],
        [chosen, 'p=tls-unique'],
        [chosen, 'p='],
        [chosen, 'p=tls-server-end-point2'],
      ] as const) {
        const first = Buffer.from(`${flag},,n=,r=abc`)
        assert.throws(() => exchangeOf(binding).first(first), { code: 'PROTOCOL_VIOLATION' }, flag)
      }
    })
  })

  test('malformed messages are refused, whatever they are', async () => {
    const verifier = await mockVerifier('x', new Uint8Array(32))
    const begin = (): ScramExchange => new ScramExchange({ verifier, random })
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
