import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { type ConfigInput, readConfig, SETTINGS, validate } from './config.ts'
import { testFolder } from '../../../test/support/temporary-folder.ts'

const folder = testFolder()

const fileWith = (content: string): string => {
  const path = join(folder, 'config.json')
  writeFileSync(path, content)
  return path
}

const refused =
  (message: RegExp, hint: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof PgnapError)
    assert.equal(error.code, 'CONFIG_INVALID')
    assert.match(error.message, message)
    assert.match(String(error.hint), hint)
    return true
  }

test('nothing said gives a server that works on this machine only', () => {
  const config = validate({})
  assert.equal(config.host, '127.0.0.1')
  assert.equal(config.port, 6432)
  assert.equal(config.auth, 'trust')
  assert.equal(config.createOnConnect, true)
  assert.equal(config.napAfterMs, LIMITS.napAfterMs)
  assert.ok(config.shards >= 1)
})

test('a flag wins over the environment, the environment over the file', () => {
  const file = fileWith('{ "port": 1, "slots": 1, "napAfterMs": "1min" }')
  const config = readConfig({
    flags: { port: '3', host: undefined },
    environment: { PGNAP_PORT: '2', PGNAP_SLOTS: '2', PGNAP_HOST: '' },
    file,
  })
  assert.deepEqual([config.port, config.slots, config.napAfterMs], [3, 2, 60_000])
  assert.equal(config.host, '127.0.0.1')
})

test('quantities have the units of postgresql.conf', () => {
  const of = (input: ConfigInput): number[] => {
    const { napAfterMs, slotMemoryBytesMax } = validate(input)
    return [napAfterMs, slotMemoryBytesMax]
  }
  assert.deepEqual(of({ napAfterMs: '250ms', slotMemoryBytesMax: '64MB' }), [250, 2 ** 26])
  assert.deepEqual(of({ napAfterMs: 500, slotMemoryBytesMax: '1GB' }), [500, 2 ** 30])
  for (const wrong of ['10 parsecs', '-1s', '1.5s', 's', '', Number.NaN, null, {}]) {
    assert.throws(() => validate({ napAfterMs: wrong }), refused(/^nap-after/, /--nap-after/))
  }
  assert.throws(
    () => validate({ slotMemoryBytesMax: '1MB' }),
    refused(/slot-memory/, /SLOT_MEMORY/),
  )
})

test('every setting names its flag, its variable and its key when it is wrong', () => {
  for (const [name, { flag, environment }] of Object.entries(SETTINGS)) {
    const check = refused(
      new RegExp(`^${flag}: `),
      new RegExp(`--${flag}, ${environment} .*"${name}"`),
    )
    assert.throws(() => validate({ [name]: { no: 'such thing' } }), check)
  }
})

test('a setting that does not exist is named, with those that do', () => {
  const file = fileWith('{ "prot": 1 }')
  const read = (): unknown => readConfig({ flags: {}, environment: {}, file })
  assert.throws(read, refused(/prot/, /the settings are .*port/))
})

test('a configuration file that cannot be used says why', () => {
  const read = (file: string) => (): unknown => readConfig({ flags: {}, environment: {}, file })
  assert.throws(read(join(folder, 'none.json')), refused(/ENOENT/, /one JSON object/))
  assert.throws(read(fileWith('{ port: 1 }')), refused(/config\.json/, /one JSON object/))
  for (const text of ['null', '[]']) {
    assert.throws(read(fileWith(text)), refused(/not an object/, /one JSON object/), text)
  }
})

test('trust on an address that others can reach needs --insecure', () => {
  for (const host of ['0.0.0.0', '::', '192.168.1.5', 'example.org', '127.example.org']) {
    assert.throws(() => validate({ host }), refused(/trust on/, /--insecure/))
    assert.equal(validate({ host, insecure: 'true' }).host, host)
  }
  for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost']) validate({ host })
})

test('scram needs to know its users', () => {
  assert.throws(() => validate({ auth: 'scram' }), refused(/users and passwords/, /--auth-file/))
  assert.equal(validate({ auth: 'scram', authFile: 'users.txt', host: '0.0.0.0' }).auth, 'scram')
})

test('a certificate and its key come together, and before require-tls', () => {
  const both = validate({ tlsCert: 'a.crt', tlsKey: 'a.key', requireTls: 'on' })
  assert.deepEqual([both.tlsCert, both.tlsKey, both.requireTls], ['a.crt', 'a.key', true])
  assert.deepEqual([validate({}).tlsCert, validate({}).requireTls], [undefined, false])
  assert.throws(
    () => validate({ tlsCert: 'a.crt' }),
    refused(/tls-cert without tls-key/, /--tls-key/),
  )
  assert.throws(
    () => validate({ tlsKey: 'a.key' }),
    refused(/tls-key without tls-cert/, /--tls-cert/),
  )
  assert.throws(() => validate({ requireTls: true }), refused(/needs a certificate/, /--tls-cert/))
  assert.throws(() => validate({ tlsCert: '', tlsKey: '' }), refused(/^tls-cert/, /--tls-cert/))
})
