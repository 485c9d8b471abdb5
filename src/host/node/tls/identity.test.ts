import assert from 'node:assert/strict'
import { X509Certificate, generateKeyPairSync } from 'node:crypto'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { PgnapError } from '../../../base/errors.ts'
import { testFolder } from '../../../../test/support/temporary-folder.ts'
import { OTHER_FILES, SERVER_FILES } from '../../../../test/support/tls-files.ts'
import { Identity, readLeaf } from './identity.ts'

const folder = testFolder()

const fileWith = (name: string, content: string): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

const read = (path: string): string => readFileSync(path, 'utf8')

function refused(files: Partial<typeof SERVER_FILES>, message: RegExp, hint: RegExp): void {
  assert.throws(
    () => new Identity({ ...SERVER_FILES, ...files }),
    (error) => {
      assert.ok(error instanceof PgnapError)
      assert.equal(error.code, 'CONFIG_INVALID')
      assert.match(error.message, message)
      assert.match(String(error.hint), hint)
      return true
    },
  )
}

test('a chain and its key; the first certificate is the own one', () => {
  const identity = new Identity(SERVER_FILES)
  assert.match(new X509Certificate(identity.certificate).subject, /test-only server/)
  assert.equal(identity.certificate, readLeaf(SERVER_FILES.tlsCert))
})

test('files that cannot be used are refused with what to do', () => {
  const missing = join(folder, 'missing')
  const words = fileWith('words', 'no certificate\n')
  const [leaf, ...rest] = read(SERVER_FILES.tlsCert).split(/(?<=END CERTIFICATE-----\n)/)
  const broken = fileWith('broken', `${leaf}${rest.join('').replaceAll('M', 'x')}`)
  const turned = fileWith('turned', `${rest.join('')}${leaf}`)
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 512 })
  const locked = fileWith(
    'locked',
    generateKeyPairSync('ec', { namedCurve: 'P-256' })
      .privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
      .toString(),
  )
  const stranger = fileWith(
    'stranger',
    privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  )
  refused({ tlsCert: missing }, /^tls-cert: cannot read .*missing: ENOENT/, /--tls-cert/)
  refused({ tlsKey: missing }, /^tls-key: cannot read .*missing: ENOENT/, /--tls-key/)
  refused({ tlsCert: folder }, /^tls-cert: cannot read/, /PEM file/)
  refused({ tlsCert: words }, /words is not PEM/, /BEGIN and END/)
  refused({ tlsCert: SERVER_FILES.tlsKey }, /is not PEM/, /BEGIN and END/)
  refused({ tlsCert: broken }, /broken is not PEM/, /BEGIN and END/)
  refused({ tlsKey: words }, /words holds no private key/, /BEGIN PRIVATE KEY/)
  refused({ tlsKey: SERVER_FILES.tlsCert }, /holds no private key/, /BEGIN PRIVATE KEY/)
  refused({ tlsKey: locked }, /locked with a passphrase/, /openssl pkey -in/)
  refused({ tlsKey: OTHER_FILES.tlsKey }, /does not belong to/, /that the certificate was made/)
  refused({ tlsKey: stranger }, /does not belong to/, /that the certificate was made/)
  refused({ tlsCert: turned }, /does not belong to/, /own certificate first/)
})

test('renewal takes both files or neither', () => {
  const files = { tlsCert: join(folder, 'now.crt'), tlsKey: join(folder, 'now.key') }
  const put = ({ tlsCert, tlsKey }: typeof SERVER_FILES): void => {
    copyFileSync(tlsCert, files.tlsCert)
    copyFileSync(tlsKey, files.tlsKey)
  }
  put(SERVER_FILES)
  const identity = new Identity(files)
  const heard: unknown[] = []
  identity.onRenewed((context) => heard.push(context.cert))
  const before = identity.certificate
  copyFileSync(OTHER_FILES.tlsCert, files.tlsCert)
  assert.throws(() => identity.renew(), /does not belong to/)
  assert.equal(identity.certificate, before)
  assert.equal(identity.context.cert, read(SERVER_FILES.tlsCert))
  assert.deepEqual(heard, [])
  put(OTHER_FILES)
  identity.renew()
  assert.match(new X509Certificate(identity.certificate).subject, /test-only other/)
  assert.deepEqual(heard, [read(OTHER_FILES.tlsCert)])
})
