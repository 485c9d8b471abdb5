/**
 * SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677).
 *
 *   client-first   n,,n=,r=<nonce>          server-first   r=<nonce+ours>,s=<salt>,i=<iterations>
 *   client-final   c=biws,r=<nonce>,p=<proof>   server-final   v=<signature>
 *
 * With channel binding the client begins with `p=tls-server-end-point,,`, and says in `c=` that and
 * the hash of the certificate that it has been shown. Whoever stands in between has shown it
 * another one, and cannot change the proof that covers it. Nor can it hide that there is channel
 * binding: a client that would have it says `y,,` then, which is refused where it was offered.
 *
 * The server keeps a verifier, never a password, and proves in its last message that it had one.
 * For a user that does not exist the exchange is played to its end with a verifier made up from the
 * name, so that the salt is the same at every attempt and nothing tells the two cases apart. Proofs
 * are compared in constant time.
 */
import { concatBytes, fromUtf8, utf8 } from '../../base/bytes.ts'
import { PgnapError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import {
  KEY_BYTES,
  SCRAM_ITERATIONS,
  type Verifier,
  fromBase64,
  hmac,
  makeVerifier,
  saltOf,
  sha256,
  toBase64,
} from '../../router/scram-verifier.ts'

const NONCE_BYTES = 18

/**
 * A verifier that no password fits, always the same for one `secret` and `user`.
 * @param secret known to nobody outside; the same for the life of the server, better for longer
 */
export async function mockVerifier(
  user: string,
  secret: Uint8Array<ArrayBuffer>,
): Promise<Verifier> {
  return {
    iterations: SCRAM_ITERATIONS,
    salt: await saltOf(user, secret),
    storedKey: await hmac(secret, utf8(`stored ${user}`)),
    serverKey: await hmac(secret, utf8(`server ${user}`)),
  }
}

export interface ChannelBinding {
  /** The client has chosen the mechanism that has it. */
  readonly isChosen: boolean
  /** What it is to be bound to; undefined where it was not offered. */
  readonly endPoint: Uint8Array | undefined
}

export interface ScramOptions {
  readonly verifier: Verifier
  readonly random: Random
  /** Printable text without commas. Default: 24 characters of `random`. */
  readonly serverNonce?: string
  /** Default: not offered. */
  readonly binding?: ChannelBinding
}

const END_POINT_FLAG = 'p=tls-server-end-point'
const NOT_OFFERED: ChannelBinding = { isChosen: false, endPoint: undefined }

/**
 * One exchange. `first`, then `final`, each once. Malformed messages throw PROTOCOL_VIOLATION, what
 * somebody in between may have done CHANNEL_BINDING_FAILED.
 */
export class ScramExchange {
  readonly #verifier: Verifier
  readonly #serverNonce: string
  readonly #binding: ChannelBinding
  #header = ''
  #clientFirstBare = ''
  #nonce = ''
  #serverFirst = ''

  constructor({ verifier, random, serverNonce, binding = NOT_OFFERED }: ScramOptions) {
    this.#verifier = verifier
    this.#serverNonce = serverNonce ?? toBase64(random.bytes(NONCE_BYTES))
    this.#binding = binding
  }

  /** The client's first message in, the server's first message out. */
  first(clientFirst: Uint8Array): string {
    const text = fromUtf8(clientFirst)
    const parts = /^((n|y|p=[^,]*),([^,]*),)((m=)?.*)$/s.exec(text)
    if (!parts) throw malformed('no GS2 header')
    const [, header, flag = '', authorizationId, bare, extension] = parts
    this.#checkFlag(flag)
    if (authorizationId !== '') {
      throw new PgnapError(
        'AUTHENTICATION_UNSUPPORTED',
        'SCRAM authorization ids are not supported',
      )
    }
    if (extension !== undefined) throw malformed('mandatory extensions are not supported')
    // The name inside is ignored, as in Postgres: the startup packet has said who it is.
    const nonce = /^n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?$/s.exec(bare ?? '')?.[1]
    if (nonce === undefined) throw malformed('no nonce in the first message')
    this.#header = header ?? ''
    this.#clientFirstBare = bare ?? ''
    this.#nonce = nonce + this.#serverNonce
    const { salt, iterations } = this.#verifier
    this.#serverFirst = `r=${this.#nonce},s=${toBase64(salt)},i=${iterations}`
    return this.#serverFirst
  }

  /** The client's proof in; the server's proof out, or undefined if the password is wrong. */
  async final(clientFinal: Uint8Array): Promise<string | undefined> {
    const text = fromUtf8(clientFinal)
    const parts = /^(c=([A-Za-z0-9+/=]+),r=([^,]*)(?:,.*)?),p=([A-Za-z0-9+/=]+)$/s.exec(text)
    if (!parts) throw malformed('the final message is not one')
    const [, withoutProof, binding, nonce, proofText] = parts
    this.#checkBinding(binding)
    if (nonce !== this.#nonce) throw malformed('nonce does not match')
    const proof = fromBase64(proofText ?? '')
    if (proof?.length !== KEY_BYTES) throw malformed('the proof has a wrong length')
    const message = utf8(`${this.#clientFirstBare},${this.#serverFirst},${withoutProof}`)
    const clientSignature = await hmac(this.#verifier.storedKey, message)
    const clientKey = proof.map((byte, index) => byte ^ (clientSignature[index] ?? 0))
    const storedKey = await sha256(clientKey)
    // Both are made in either case, so that a wrong password takes as long as a right one.
    const serverSignature = await hmac(this.#verifier.serverKey, message)
    if (!equalInConstantTime(storedKey, this.#verifier.storedKey)) return undefined
    return `v=${toBase64(serverSignature)}`
  }

  /** As Postgres does. @param flag what the client says of channel binding */
  #checkFlag(flag: string): void {
    const { isChosen, endPoint } = this.#binding
    const isBound = flag.startsWith('p=')
    if (isChosen && !isBound) throw malformed('SCRAM-SHA-256-PLUS without channel binding')
    if (isBound && !isChosen) throw malformed('SCRAM-SHA-256 with channel binding')
    if (isBound && flag !== END_POINT_FLAG) {
      throw new PgnapError('PROTOCOL_VIOLATION', 'unsupported SCRAM channel-binding type', {
        hint: 'use a client that knows tls-server-end-point',
      })
    }
    if (flag !== 'y' || !endPoint) return
    throw new PgnapError('CHANNEL_BINDING_FAILED', 'SCRAM channel binding negotiation error', {
      detail: 'the client has not been told that this server offers SCRAM-SHA-256-PLUS',
      hint: 'somebody may stand between client and server: check its certificate',
    })
  }

  #checkBinding(binding: string | undefined): void {
    const { isChosen, endPoint } = this.#binding
    const bound = isChosen && endPoint ? [endPoint] : []
    if (binding === toBase64(concatBytes([utf8(this.#header), ...bound]))) return
    if (!isChosen) throw malformed('unexpected channel binding')
    throw new PgnapError('CHANNEL_BINDING_FAILED', 'SCRAM channel binding check failed', {
      detail: 'the client was shown a certificate that is not the one of this connection',
      hint: 'somebody may stand between client and server, or ends TLS in front of it',
    })
  }
}

/**
 * Whether `password`, which came in clear, is the one of `verifier`. Takes as long for a wrong one.
 */
export async function fitsVerifier(
  password: string,
  verifier: Verifier,
  random: Random,
): Promise<boolean> {
  const made = await makeVerifier(password, random, verifier)
  return equalInConstantTime(keysOf(made), keysOf(verifier))
}

function keysOf({ storedKey, serverKey }: Verifier): Uint8Array {
  return concatBytes([storedKey, serverKey])
}

/** Whether two arrays are equal, in a time that depends on their lengths only. */
export function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let index = 0; index < a.length; index++) {
    difference |= (a[index] as number) ^ (b[index] as number)
  }
  return difference === 0
}

function malformed(what: string): PgnapError {
  return new PgnapError('PROTOCOL_VIOLATION', `malformed SCRAM message: ${what}`)
}
