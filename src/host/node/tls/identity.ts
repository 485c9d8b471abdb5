/**
 * What the server proves itself with: a certificate, the chain behind it and their private key,
 * from two PEM files. They are read at the start and whenever somebody renews them; a pair that
 * cannot be used is refused as a whole, so a renewal that went wrong leaves the old pair in use.
 */
import { X509Certificate, createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { PgnapError, errorText } from '../../../base/errors.ts'
import type { Config } from '../config.ts'

export interface TlsFiles {
  readonly tlsCert: string
  readonly tlsKey: string
}

/** Undefined for a server without TLS. */
export function tlsFilesOf({ tlsCert, tlsKey }: Config): TlsFiles | undefined {
  return tlsCert === undefined || tlsKey === undefined ? undefined : { tlsCert, tlsKey }
}

/** A pair of files as it was at one moment. */
interface Pair {
  readonly context: SecureContextOptions
  readonly leaf: X509Certificate
}

export class Identity {
  readonly #files: TlsFiles
  readonly #listeners: ((context: SecureContextOptions) => void)[] = []
  #pair: Pair

  /** @throws PgnapError CONFIG_INVALID if the files cannot be read, or not be used together */
  constructor(files: TlsFiles) {
    this.#files = files
    this.#pair = readPair(files)
  }

  /** For whoever speaks TLS. */
  get context(): SecureContextOptions {
    return this.#pair.context
  }

  /** The server's own certificate in PEM, without its chain: what a client is shown first. */
  get certificate(): string {
    return this.#pair.leaf.toString()
  }

  /** `listener` hears of every pair that comes after this one. */
  onRenewed(listener: (context: SecureContextOptions) => void): void {
    this.#listeners.push(listener)
  }

  /**
   * Reads both files again. New connections get what they hold now.
   * @throws PgnapError CONFIG_INVALID as the constructor; then nothing has changed
   */
  renew(): void {
    this.#pair = readPair(this.#files)
    for (const listener of this.#listeners) listener(this.#pair.context)
  }
}

/**
 * The first certificate of a PEM file, in PEM.
 * @throws PgnapError CONFIG_INVALID
 */
export function readLeaf(path: string): string {
  return leafOf(certificatesOf(path, readPem('tls-cert', path))).toString()
}

function readPair({ tlsCert, tlsKey }: TlsFiles): Pair {
  const cert = readPem('tls-cert', tlsCert)
  const key = readPem('tls-key', tlsKey)
  const certificates = certificatesOf(tlsCert, cert)
  const leaf = leafOf(certificates)
  const privateKey = privateKeyOf(tlsKey, key)
  if (!leaf.checkPrivateKey(privateKey)) {
    const isLater = certificates.some((each) => each.checkPrivateKey(privateKey))
    throw new PgnapError(
      'CONFIG_INVALID',
      `tls-key: the key in ${tlsKey} does not belong to the certificate in ${tlsCert}`,
      {
        hint: isLater
          ? "put the server's own certificate first, the chain behind it"
          : 'name the key that the certificate was made for',
      },
    )
  }
  const context = { cert, key, minVersion: 'TLSv1.2' } as const
  try {
    createSecureContext(context)
  } catch (cause) {
    throw new PgnapError(
      'CONFIG_INVALID',
      `tls-cert: ${tlsCert} cannot be used: ${errorText(cause)}`,
      {
        hint: 'make a certificate with a key that OpenSSL takes today, such as ECDSA P-256',
        cause,
      },
    )
  }
  return { context, leaf }
}

function readPem(setting: 'tls-cert' | 'tls-key', path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new PgnapError('CONFIG_INVALID', `${setting}: cannot read ${path}: ${errorText(cause)}`, {
      hint: `name a PEM file that this user may read with --${setting}`,
      cause,
    })
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

/** Each of them is looked at: OpenSSL stops at the first that it cannot read and says nothing. */
function certificatesOf(path: string, text: string): X509Certificate[] {
  const blocks = text.match(CERTIFICATE) ?? []
  try {
    if (blocks.length === 0) throw new TypeError('it holds no BEGIN CERTIFICATE')
    return blocks.map((block) => new X509Certificate(block))
  } catch (cause) {
    throw new PgnapError('CONFIG_INVALID', `tls-cert: ${path} is not PEM: ${errorText(cause)}`, {
      hint: 'it holds one certificate, then those that signed it, each between BEGIN and END',
      cause,
    })
  }
}

function leafOf(certificates: readonly X509Certificate[]): X509Certificate {
  const [leaf] = certificates
  if (!leaf) throw new TypeError('a PEM file without certificates is refused before')
  return leaf
}

function privateKeyOf(path: string, text: string): KeyObject {
  const isEncrypted = /-----BEGIN ENCRYPTED|^Proc-Type: 4,ENCRYPTED/m.test(text)
  try {
    return createPrivateKey(text)
  } catch (cause) {
    throw new PgnapError(
      'CONFIG_INVALID',
      isEncrypted
        ? `tls-key: ${path} is locked with a passphrase`
        : `tls-key: ${path} holds no private key in PEM: ${errorText(cause)}`,
      {
        hint: isEncrypted
          ? `nobody is there to type it: openssl pkey -in ${path} -out FILE, mode 0600`
          : 'it holds one key between BEGIN PRIVATE KEY and END PRIVATE KEY',
        cause,
      },
    )
  }
}
