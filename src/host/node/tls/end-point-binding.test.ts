import assert from 'node:assert/strict'
import { X509Certificate, createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import fc from 'fast-check'
import { ED25519_FILES, PSS_FILES, SERVER_FILES } from '../../../../test/support/tls-files.ts'
import { endPointBinding, signatureHashOf } from './end-point-binding.ts'

const der = (path: string): Uint8Array => new X509Certificate(readFileSync(path)).raw

/** A value of DER. */
function value(tag: number, ...parts: Uint8Array[]): Buffer {
  const bytes = Buffer.concat(parts)
  const length = bytes.length < 128 ? [bytes.length] : [0x82, bytes.length >> 8, bytes.length & 255]
  return Buffer.concat([Buffer.from([tag, ...length]), bytes])
}
const sequence = (...parts: Uint8Array[]): Buffer => value(0x30, ...parts)

function identifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = rest.flatMap((arc) => {
    const sevens = [arc & 0x7f]
    for (let more = arc >> 7; more > 0; more >>= 7) sevens.unshift((more & 0x7f) | 0x80)
    return sevens
  })
  return value(6, Buffer.from([40 * first + second, ...bytes]))
}

/** What a certificate looks like from outside. */
function signedBy(...algorithm: Uint8Array[]): Buffer {
  return sequence(sequence(Buffer.alloc(300)), sequence(...algorithm), value(3, Buffer.alloc(64)))
}

const pss = (hash: string): Buffer =>
  signedBy(identifier('1.2.840.113549.1.1.10'), sequence(value(0xa0, sequence(identifier(hash)))))

test('the hash is that of the signature, for each kind of it', () => {
  const rsa = ['md5', 'sha1', undefined, ...Array<undefined>(4), 'sha256', 'sha384', 'sha512']
  for (const [index, name] of [...rsa, 'sha224', 'sha512-224', 'sha512-256'].entries()) {
    if (!name) continue
    const certificate = signedBy(identifier(`1.2.840.113549.1.1.${4 + index}`), value(5))
    assert.equal(signatureHashOf(certificate), name)
  }
  for (const [arcs, name] of [
    ['1', 'sha1'],
    ['3.1', 'sha224'],
    ['3.2', 'sha256'],
    ['3.3', 'sha384'],
    ['3.4', 'sha512'],
  ]) {
    assert.equal(signatureHashOf(signedBy(identifier(`1.2.840.10045.4.${arcs}`))), name)
  }
  const sha3 = ['sha3-224', 'sha3-256', 'sha3-384', 'sha3-512']
  for (const [index, name] of [...sha3, ...sha3].entries()) {
    const certificate = signedBy(identifier(`2.16.840.1.101.3.4.3.${9 + index}`))
    assert.equal(signatureHashOf(certificate), name)
    // OpenSSL knows it by this name.
    assert.ok(endPointBinding(certificate))
  }
  const hashes = ['sha256', 'sha384', 'sha512', 'sha224', 'sha512-224', 'sha512-256']
  for (const [index, name] of hashes.entries()) {
    assert.equal(signatureHashOf(pss(`2.16.840.1.101.3.4.2.${1 + index}`)), name)
  }
  const byDefault = signedBy(identifier('1.2.840.113549.1.1.10'), sequence())
  assert.equal(signatureHashOf(byDefault), 'sha1')
})

test('a weak hash is not used, SHA-256 is', () => {
  for (const arc of [4, 5]) {
    const certificate = signedBy(identifier(`1.2.840.113549.1.1.${arc}`), value(5))
    const expected = createHash('sha256').update(certificate).digest()
    assert.deepEqual(Buffer.from(endPointBinding(certificate) ?? []), expected)
  }
})

test('certificates as they are made', () => {
  assert.equal(signatureHashOf(der(SERVER_FILES.tlsCert)), 'sha256')
  assert.equal(signatureHashOf(der(PSS_FILES.tlsCert)), 'sha384')
  assert.equal(endPointBinding(der(PSS_FILES.tlsCert))?.length, 48)
  assert.equal(endPointBinding(der(ED25519_FILES.tlsCert)), undefined)
})

test('node-postgres finds the same hashes', () => {
  const require = createRequire(import.meta.url)
  const { signatureAlgorithmHashFromCertificate: hashOf } =
    require('pg/lib/crypto/cert-signatures') as {
      signatureAlgorithmHashFromCertificate: (certificate: Buffer) => string
    }
  const arcs = [4, 5, 11, 12, 13, 14, 15, 16].map((arc) => `1.2.840.113549.1.1.${arc}`)
  const curves = ['1', '3.1', '3.2', '3.3', '3.4'].map((arc) => `1.2.840.10045.4.${arc}`)
  const certificates = [
    ...[...arcs, ...curves].map((each) => signedBy(identifier(each), value(5))),
    ...['1.3.14.3.2.26', '1.2.840.113549.2.5'].map(pss),
    ...[1, 2, 3].map((arc) => pss(`2.16.840.1.101.3.4.2.${arc}`)),
  ]
  const plain = (name = ''): string => name.toLowerCase().replaceAll('-', '')
  for (const certificate of certificates) {
    assert.equal(plain(signatureHashOf(certificate)), plain(hashOf(certificate)))
  }
})

test('whatever else comes has no hash', () => {
  const real = der(SERVER_FILES.tlsCert)
  for (let cut = 0; cut < real.length; cut++) {
    assert.equal(signatureHashOf(real.subarray(0, cut)), undefined)
  }
  const property = fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    assert.equal(signatureHashOf(bytes), undefined)
  })
  fc.assert(property)
  assert.equal(signatureHashOf(signedBy(identifier('1.2.3.4'))), undefined)
})
