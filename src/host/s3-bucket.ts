/**
 * A bucket of anything that speaks S3's protocol and knows conditional writes (`If-Match`,
 * `If-None-Match`): S3 itself, R2 from outside of Workers, and many servers beside. The tag is the
 * ETag. Addresses are in the path style, `ENDPOINT/BUCKET/KEY`.
 */
import type { Clock } from '../base/clock.ts'
import { PgnapError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { Bucket, StoredObject } from '../medium/bucket.ts'
import { encodeKey, type S3Credentials, type S3Request, signedHeaders } from './s3-signature.ts'

export interface S3BucketOptions {
  /** `https://HOST`, perhaps with a port and a path. */
  readonly endpoint: URL
  readonly bucket: string
  /** R2 takes `auto`. */
  readonly region: string
  readonly credentials: S3Credentials
  readonly clock: Pick<Clock, 'nowMs'>
}

/** Of what a server says of an error, so much goes into the message. */
const TEXT_CHARS_MAX = 500
/** `Precondition Failed`; and what S3 answers to one of two that write at the same time. */
const FENCED: ReadonlySet<number> = new Set([409, 412])

export class S3Bucket implements Bucket {
  readonly #options: S3BucketOptions

  constructor(options: S3BucketOptions) {
    this.#options = options
  }

  async tagOf(key: string): Promise<string | undefined> {
    const answer = await this.#ask('HEAD', key, {}, new Uint8Array(0))
    if (answer.status === 404) return undefined
    if (!answer.ok) throw await refused(answer)
    return tagOf(answer)
  }

  async get(key: string): Promise<StoredObject | undefined> {
    const answer = await this.#ask('GET', key, {}, new Uint8Array(0))
    if (answer.status === 404) {
      await answer.body?.cancel()
      return undefined
    }
    if (!answer.ok) throw await refused(answer)
    const tag = tagOf(answer)
    try {
      return { bytes: new Uint8Array(await answer.arrayBuffer()), tag }
    } catch (error) {
      throw unreachable(error)
    }
  }

  async put(key: string, bytes: Uint8Array, tag: string | undefined): Promise<string> {
    const condition: Record<string, string> =
      tag === undefined ? { 'if-none-match': '*' } : { 'if-match': tag }
    const answer = await this.#ask('PUT', key, condition, new Uint8Array(bytes))
    // One that is not there cannot be replaced: S3 says so with another number.
    if (FENCED.has(answer.status) || (tag !== undefined && answer.status === 404)) {
      await answer.body?.cancel()
      throw new PgnapError('STORE_FENCED', `"${key}" has been written by somebody else`, {
        hint: 'load it again and repeat what was done',
      })
    }
    if (!answer.ok) throw await refused(answer)
    await answer.body?.cancel()
    return tagOf(answer)
  }

  async #ask(
    method: S3Request['method'],
    key: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array<ArrayBuffer>,
  ): Promise<Response> {
    // A URL resolves them: the bucket's name would go first.
    if (key === '' || key.split('/').some((part) => part === '.' || part === '..')) {
      throw new PgnapError('REQUEST_INVALID', `"${key}" is no name of an object`, {
        hint: 'use letters, digits, "-", "_", "." and "/", and no "." or ".." between "/"',
      })
    }
    const { endpoint, bucket, region, credentials, clock } = this.#options
    const base = endpoint.href.replace(/\/$/, '')
    const url = new URL(`${base}/${encodeKey(`${bucket}/${key}`)}`)
    const scope = { credentials, region, nowMs: clock.nowMs() }
    try {
      return await fetch(url, {
        method,
        headers: await signedHeaders({ method, url, headers, body }, scope),
        signal: AbortSignal.timeout(LIMITS.bucketAnswerMs),
        ...(method === 'PUT' ? { body } : {}),
      })
    } catch (error) {
      throw unreachable(error)
    }
  }
}

function tagOf({ headers }: Response): string {
  const tag = headers.get('ETag')
  if (tag !== null) return tag
  throw new PgnapError('STORE_IO', 'the bucket gives its objects no ETag', {
    hint: 'use a server that does: without it two writers cannot be told apart',
  })
}

async function refused(answer: Response): Promise<PgnapError> {
  const text = (await answer.text().catch(() => '')).slice(0, TEXT_CHARS_MAX)
  return new PgnapError('STORE_IO', 'the bucket has refused a request', {
    detail: `${answer.status} ${text}`,
    hint: 'check its name, the credentials and what they may do',
  })
}

function unreachable(cause: unknown): PgnapError {
  return new PgnapError('STORE_IO', 'the bucket cannot be reached', {
    cause,
    detail: String(cause),
    hint: 'check its address and the network',
  })
}
