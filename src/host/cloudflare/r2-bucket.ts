/** R2 as a bucket, by the binding of a Worker. */
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Bucket, StoredObject } from '../../medium/bucket.ts'

export class R2ObjectBucket implements Bucket {
  readonly #bucket: R2Bucket

  constructor(bucket: R2Bucket) {
    this.#bucket = bucket
  }

  async tagOf(key: string): Promise<string | undefined> {
    return (await asked(() => this.#bucket.head(key)))?.etag
  }

  async get(key: string): Promise<StoredObject | undefined> {
    return asked(async () => {
      const found = await this.#bucket.get(key)
      if (found && found.size > LIMITS.isolateObjectBytesMax) throw tooLarge(key, found.size)
      return found
        ? { bytes: new Uint8Array(await found.arrayBuffer()), tag: found.etag }
        : undefined
    })
  }

  async put(key: string, bytes: Uint8Array, tag: string | undefined): Promise<string> {
    const onlyIf = tag === undefined ? new Headers({ 'If-None-Match': '*' }) : { etagMatches: tag }
    const put = await asked(() => this.#bucket.put(key, bytes, { onlyIf }))
    if (put) return put.etag
    throw new PgnapError('STORE_FENCED', `"${key}" has been written by somebody else`, {
      hint: 'load it again and repeat what was done',
    })
  }
}

async function asked<Result>(ask: () => Promise<Result>): Promise<Result> {
  try {
    return await ask()
  } catch (cause) {
    if (cause instanceof PgnapError) throw cause
    throw new PgnapError('STORE_IO', 'the bucket cannot be read or written', {
      cause,
      detail: String(cause),
      hint: 'try again; see how R2 stands if that does not help',
    })
  }
}

function tooLarge(key: string, bytes: number): PgnapError {
  return new PgnapError('STORE_FULL', `"${key}" is too large to be loaded`, {
    detail: `${bytes} bytes, of ${LIMITS.isolateObjectBytesMax} that an isolate loads`,
    hint: 'archive what is old in it, or use an architecture that loads what it needs',
  })
}
