/**
 * The keys with which clients may ask for their own statements to be cancelled. A key is a
 * keyed hash of the number that the client was given, so the main thread can tell a right one from
 * a wrong one while the shard that gave it is held by the very statement that is to end.
 *
 * Source: Postgres 18, protocol, "Canceling Requests in Progress".
 */
import { createHmac } from 'node:crypto'
import { equalInConstantTime } from '../../front/wire/scram.ts'

/** Bytes of {@link CancelKeys}' own secret. */
export const CANCEL_SECRET_BYTES = 32

export class CancelKeys {
  readonly #secret: Uint8Array

  /** @param secret random bytes, the same in all threads of a server */
  constructor(secret: Uint8Array) {
    this.#secret = secret
  }

  /** The key of a client. @param byteLength at most 32 */
  keyFor(processId: number, byteLength: number): Uint8Array {
    const hash = createHmac('sha256', this.#secret).update(`${processId}/${byteLength}`).digest()
    return new Uint8Array(hash.subarray(0, byteLength))
  }

  /** Whether `key` is one that the client may have been given. */
  isRight(processId: number, key: Uint8Array): boolean {
    return key.length > 0 && equalInConstantTime(this.keyFor(processId, key.length), key)
  }
}
