/**
 * What a password can be bound to in a connection with TLS: `tls-server-end-point`, a hash of the
 * certificate that this very connection was opened with (RFC 5929, section 4). A client that was
 * led to somebody else has seen another certificate, and its proof of the password is no good here.
 *
 * The hash is that of the certificate's own signature, but SHA-256 where that is MD5 or SHA-1.
 * Where the signature has no hash of its own (Ed25519, Ed448) there is no such binding: RFC 5929
 * leaves it open, OpenSSL finds no hash and so libpq and Postgres fail, and others take SHA-512. It
 * must not be offered then, or clients that would rather have it could not log in at all.
 */
import { createHash } from 'node:crypto'

/** Hashes by the identifiers of the signatures that are made with them, in hexadecimal DER. */
const SIGNATURES: Readonly<Record<string, string>> = {
  // RSA with PKCS #1 v1.5: 1.2.840.113549.1.1.*
  '2a864886f70d010104': 'md5',
  '2a864886f70d010105': 'sha1',
  '2a864886f70d01010e': 'sha224',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a864886f70d01010f': 'sha512-224',
  '2a864886f70d010110': 'sha512-256',
  // ECDSA: 1.2.840.10045.4.*
  '2a8648ce3d0401': 'sha1',
  '2a8648ce3d040301': 'sha224',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
  // ECDSA, then RSA, with SHA-3: 2.16.840.1.101.3.4.3.*
  '608648016503040309': 'sha3-224',
  '60864801650304030a': 'sha3-256',
  '60864801650304030b': 'sha3-384',
  '60864801650304030c': 'sha3-512',
  '60864801650304030d': 'sha3-224',
  '60864801650304030e': 'sha3-256',
  '60864801650304030f': 'sha3-384',
  '608648016503040310': 'sha3-512',
}

/** RSASSA-PSS (1.2.840.113549.1.1.10) names its hash beside; SHA-1 if it does not (RFC 4055). */
const RSASSA_PSS = '2a864886f70d01010a'
const HASHES: Readonly<Record<string, string>> = {
  '2a864886f70d0205': 'md5',
  '2b0e03021a': 'sha1',
  // 2.16.840.1.101.3.4.2.*
  '608648016503040204': 'sha224',
  '608648016503040201': 'sha256',
  '608648016503040202': 'sha384',
  '608648016503040203': 'sha512',
  '608648016503040205': 'sha512-224',
  '608648016503040206': 'sha512-256',
}

const WEAK: ReadonlySet<string> = new Set(['md5', 'sha1'])

/** @param certificate as DER. Undefined: passwords cannot be bound to this one. */
export function endPointBinding(certificate: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  const hash = signatureHashOf(certificate)
  if (hash === undefined) return undefined
  const made = createHash(WEAK.has(hash) ? 'sha256' : hash)
  return new Uint8Array(made.update(certificate).digest())
}

/** As OpenSSL names it. Undefined if the signature has none, or none that is known. */
export function signatureHashOf(certificate: Uint8Array): string | undefined {
  // Certificate: SEQUENCE { what is signed, SEQUENCE { identifier, parameters }, signature }
  const [, algorithm] = partsOf(partsOf(certificate)[0])
  const [identifier, parameters] = partsOf(algorithm)
  const name = contentOf(identifier)
  if (name !== RSASSA_PSS) return SIGNATURES[name]
  // SEQUENCE { [0] { SEQUENCE { hash, ... } }, [1] ... }; whatever has its default is left out.
  const hash = partsOf(parameters).find(({ tag }) => tag === PARAMETER_0)
  if (!hash) return 'sha1'
  return HASHES[contentOf(partsOf(partsOf(hash)[0])[0])]
}

const PARAMETER_0 = 0xa0

/** One value of DER (X.690): its tag, and what is in it. */
interface DerValue {
  readonly tag: number
  readonly bytes: Uint8Array
}

/** The values in another one, or in some bytes; none where they do not end with them. */
function partsOf(whole: DerValue | Uint8Array | undefined): DerValue[] {
  const bytes = whole instanceof Uint8Array ? whole : (whole?.bytes ?? new Uint8Array(0))
  const parts: DerValue[] = []
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at] ?? 0
    const first = bytes[at + 1] ?? 0
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f
    let length = first
    if (lengthBytes > 0) {
      length = 0
      for (const byte of bytes.subarray(at + 2, at + 2 + lengthBytes)) length = length * 256 + byte
    }
    const start = at + 2 + lengthBytes
    if (start + length > bytes.length) return []
    parts.push({ tag, bytes: bytes.subarray(start, start + length) })
    at = start + length
  }
  return parts
}

function contentOf(value: DerValue | undefined): string {
  return Buffer.from(value?.bytes ?? []).toString('hex')
}
