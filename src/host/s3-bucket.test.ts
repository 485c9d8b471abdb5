import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { bucketConformance } from '../../test/conformance/bucket.ts'
import { mediumConformance } from '../../test/conformance/medium.ts'
import { storeConformance } from '../../test/conformance/store.ts'
import { bucketPlace } from '../../test/support/bucket-place.ts'
import { S3_CREDENTIALS, S3_REGION, type S3Server, startS3 } from '../../test/support/s3-server.ts'
import { ManualClock } from '../base/clock.ts'
import { S3Bucket, type S3BucketOptions } from './s3-bucket.ts'
import { encodeKey, signedHeaders } from './s3-signature.ts'

// The examples of the Amazon S3 API reference, "Signature Calculations for the Authorization
// Header", with the credentials that it gives.
const EXAMPLE = {
  credentials: {
    accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
    secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  },
  region: 'us-east-1',
  nowMs: Date.UTC(2013, 4, 24),
}

test('an example of reading is signed as the reference has it', async () => {
  const headers = await signedHeaders(
    {
      method: 'GET',
      url: new URL('https://examplebucket.s3.amazonaws.com/test.txt'),
      headers: { Range: 'bytes=0-9' },
      body: new Uint8Array(0),
    },
    EXAMPLE,
  )
  assert.match(
    headers['Authorization'] ?? '',
    /Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41$/,
  )
})

test('an example of writing is signed as the reference has it', async () => {
  const headers = await signedHeaders(
    {
      method: 'PUT',
      url: new URL('https://examplebucket.s3.amazonaws.com/test%24file.text'),
      headers: {
        Date: 'Fri, 24 May 2013 00:00:00 GMT',
        'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      },
      body: new TextEncoder().encode('Welcome to Amazon S3.'),
    },
    EXAMPLE,
  )
  assert.match(
    headers['Authorization'] ?? '',
    /Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd$/,
  )
})

test('the token of temporary credentials is sent and signed', async () => {
  const credentials = { ...EXAMPLE.credentials, sessionToken: 'a+token' }
  const url = new URL('https://examplebucket.s3.amazonaws.com/test.txt')
  const request = { method: 'GET', url, headers: {}, body: new Uint8Array(0) } as const
  const headers = await signedHeaders(request, { ...EXAMPLE, credentials })
  assert.equal(headers['x-amz-security-token'], 'a+token')
  assert.match(headers['Authorization'] ?? '', /SignedHeaders=[^,]*;x-amz-security-token,/)
})

test('names are encoded as they are signed', () => {
  assert.equal(encodeKey("a b/ü~(1)!'*"), 'a%20b/%C3%BC~%281%29%21%27%2A')
})

describe('over a server', () => {
  let server: S3Server
  let buckets = 0
  before(async () => {
    server = await startS3()
  })
  after(() => server[Symbol.asyncDispose]())

  const open = (bucket: string, options: Partial<S3BucketOptions> = {}): S3Bucket =>
    new S3Bucket({
      endpoint: server.url,
      bucket,
      region: S3_REGION,
      credentials: S3_CREDENTIALS,
      clock: new ManualClock(),
      ...options,
    })

  bucketConformance('S3', () => open('one'))

  mediumConformance('sql.js over S3', () => {
    const name = `bucket-${buckets++}`
    const place = async (): Promise<ReturnType<typeof bucketPlace>> => bucketPlace(open(name))
    return {
      open: async () => (await place()).open(),
      reopen: async () => (await place()).reopen(),
      settle: async (medium) => (await place()).settle(medium),
    }
  })

  // Each settling writes and reads the whole database, by requests of one server.
  storeConformance(
    'sql.js over S3',
    () => {
      const { reopen, settle } = bucketPlace(open(`store-${buckets++}`))
      return { open: reopen, settle }
    },
    { histories: 3, faultEvery: 20 },
  )

  test('a name with everything in it comes back', async () => {
    const bucket = open('names')
    const key = "a b/ü~(1)!'*+&=?#%"
    await bucket.put(key, Uint8Array.of(7), undefined)
    assert.deepEqual((await bucket.get(key))?.bytes, Uint8Array.of(7))
  })

  test('no name leads out of the bucket', async () => {
    await open('other').put('x', Uint8Array.of(7), undefined)
    const bucket = open('walled')
    for (const key of ['../other/x', 'a/../../other/x', 'a/./b', '..', '.', '']) {
      await assert.rejects(bucket.get(key), { code: 'REQUEST_INVALID' }, key)
      await assert.rejects(bucket.put(key, Uint8Array.of(1), undefined), {
        code: 'REQUEST_INVALID',
      })
    }
    await bucket.put('..a/b..', Uint8Array.of(1), undefined)
  })

  test('wrong credentials are told, with what the server says', async () => {
    const credentials = { ...S3_CREDENTIALS, secretAccessKey: 'wrong' }
    await assert.rejects(open('one', { credentials }).get('a'), {
      code: 'STORE_IO',
      detail: '403 SignatureDoesNotMatch',
    })
  })

  test('a server that is not there is told', async () => {
    const endpoint = new URL('http://127.0.0.1:1')
    await assert.rejects(open('one', { endpoint }).get('a'), { code: 'STORE_IO' })
    await assert.rejects(open('one', { endpoint }).put('a', Uint8Array.of(1), undefined), {
      code: 'STORE_IO',
    })
  })
})
