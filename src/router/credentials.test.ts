import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PgnapError } from '../base/errors.ts'
import { Credentials } from './credentials.ts'

const KEY = `${'A'.repeat(43)}=`
const VERIFIER = `SCRAM-SHA-256$4096:c2FsdA==$${KEY}:${KEY}`
const makeVerifier = async (password: string): Promise<string> => `made of ${password}`

test('verifiers are kept, plain passwords are turned into verifiers', async () => {
  const text = [
    '; users of the shop',
    '',
    `"ann" "${VERIFIER}"`,
    '"bob"\t"s3cret" ignored',
    '  "bob" "second line loses"\r',
    '"o""neil" "a ""quoted"" word"',
    '# the end',
  ].join('\n')
  const credentials = await Credentials.parse(text, makeVerifier)
  assert.equal(credentials.userCount, 3)
  assert.deepEqual(credentials.secretOf('ann'), { verifier: VERIFIER })
  assert.deepEqual(credentials.secretOf('bob'), { verifier: 'made of s3cret' })
  assert.deepEqual(credentials.secretOf('o"neil'), { verifier: 'made of a "quoted" word' })
  assert.equal(credentials.secretOf('eve'), undefined)
})

test('a line that is wrong is named, its secret is not', async () => {
  const lines = [
    'bob s3cret',
    '"bob"',
    '"bob" "s3cret',
    '"" "s3cret"',
    '"bob" ""',
    `"bob" "md5${'0'.repeat(32)}"`,
    '"bob" "SCRAM-SHA-256$4096:s3cret"',
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
  const word = fc.string({ minLength: 1 }).filter((text) => !/[\r\n]/.test(text))
  const password = word.filter((text) => !/^(md5|SCRAM)/.test(text))
  await fc.assert(
    fc.asyncProperty(word, password, async (user, secret) => {
      const quote = (text: string): string => `"${text.replaceAll('"', '""')}"`
      const credentials = await Credentials.parse(`${quote(user)} ${quote(secret)}`, makeVerifier)
      assert.deepEqual(credentials.secretOf(user), { verifier: `made of ${secret}` })
    }),
  )
})
