import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { utf8 } from '../base/bytes.ts'
import { PgnapError } from '../base/errors.ts'
import { Credentials } from './credentials.ts'
import { type Verifier, parseVerifier } from './scram-verifier.ts'

const KEY = `${'A'.repeat(43)}=`
const TEXT = `SCRAM-SHA-256$4096:c2FsdA==$${KEY}:${KEY}`
const madeOf = (password: string): Verifier => ({
  iterations: 1,
  salt: utf8(password),
  storedKey: new Uint8Array(32),
  serverKey: new Uint8Array(32),
})
const makeVerifier = async (password: string): Promise<Verifier> => madeOf(password)

test('verifiers are kept, plain passwords are turned into verifiers', async () => {
  const text = [
    '; users of the shop',
    '',
    `"ann" "${TEXT}"`,
    '"bob"\t"s3cret" ignored',
    '  "bob" "second line loses"\r',
    '"o""neil" "a ""quoted"" word"',
    '# the end',
  ].join('\n')
  const credentials = await Credentials.parse(text, makeVerifier)
  assert.deepEqual(credentials.verifierOf('ann'), parseVerifier(TEXT))
  assert.deepEqual(credentials.verifierOf('bob'), madeOf('s3cret'))
  assert.deepEqual(credentials.verifierOf('o"neil'), madeOf('a "quoted" word'))
  assert.equal(credentials.verifierOf('eve'), undefined)
})

test('a line that is wrong is named, its secret is not', async () => {
  const lines = [
    'bob s3cret',
    '"bob"',
    '"bob" "s3cret',
    '"" "s3cret"',
    '"jane.doe" "s3cret"',
    '"bob" ""',
    `"bob" "md5${'0'.repeat(32)}"`,
    '"bob" "SCRAM-SHA-256$4096:s3cret"',
    // Not as base64 is written, and more rounds than anybody would wait for.
    `"bob" "${TEXT.replace('c2FsdA==', 'c2FsdB==')}"`,
    `"bob" "${TEXT.replace('4096', '40960000000')}"`,
  ]
  for (const line of lines) {
    await assert.rejects(Credentials.parse(`\n${line}`, makeVerifier), (error) => {
      assert.ok(error instanceof PgnapError && error.code === 'CONFIG_INVALID', line)
      assert.match(error.message, /line 2/)
      assert.ok(!error.message.includes('s3cret'))
      return true
    })
  }
})

test('any user and password that fit on a line survive quoting', async () => {
  const word = fc.string({ minLength: 1 }).filter((text) => !/[\r\n.]/.test(text))
  const password = word.filter((text) => !/^(md5|SCRAM)/.test(text))
  await fc.assert(
    fc.asyncProperty(word, password, async (user, secret) => {
      const quote = (text: string): string => `"${text.replaceAll('"', '""')}"`
      const credentials = await Credentials.parse(`${quote(user)} ${quote(secret)}`, makeVerifier)
      assert.deepEqual(credentials.verifierOf(user), madeOf(secret))
    }),
  )
})
