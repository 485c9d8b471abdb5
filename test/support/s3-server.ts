/**
 * A server that speaks as much of S3 as a bucket needs, for tests: objects in memory, conditional
 * writes, and signatures that are checked with Node's own crypto.
 */
import { createHash, createHmac, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export const S3_CREDENTIALS = { accessKeyId: 'test-key', secretAccessKey: 'test/secret+1' }
export const S3_REGION = 'auto'

export interface S3Server extends AsyncDisposable {
  readonly url: URL
  readonly objects: Map<string, { readonly bytes: Buffer; readonly tag: string }>
}

export async function startS3(): Promise<S3Server> {
  const objects: S3Server['objects'] = new Map()
  const server = createServer((request, response) => {
    void answer(request, response, objects)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: new URL(`http://127.0.0.1:${port}`),
    objects,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  objects: S3Server['objects'],
): Promise<void> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  const body = Buffer.concat(parts)
  const end = (status: number, tag?: string, bytes?: Buffer): void => {
    response.writeHead(status, tag === undefined ? {} : { etag: tag })
    response.end(bytes)
  }
  if (!isSigned(request, body)) return end(403, undefined, Buffer.from('SignatureDoesNotMatch'))
  const key = decodeURIComponent(request.url ?? '')
  const found = objects.get(key)
  if (request.method === 'HEAD') return found ? end(200, found.tag) : end(404)
  if (request.method === 'GET') return found ? end(200, found.tag, found.bytes) : end(404)
  const { 'if-match': same, 'if-none-match': none } = request.headers
  if (none === '*' && found) return end(412)
  if (same !== undefined && !found) return end(404)
  if (same !== undefined && found?.tag !== same) return end(412)
  const tag = `"${randomUUID()}"`
  objects.set(key, { bytes: body, tag })
  end(200, tag)
}

function isSigned({ method, url, headers }: IncomingMessage, body: Buffer): boolean {
  const [, credential = '', names = '', signature] =
    /^AWS4-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=(\w+)$/.exec(
      headers.authorization ?? '',
    ) ?? []
  const [id, day = '', region = ''] = credential.split('/')
  const hash = createHash('sha256').update(body).digest('hex')
  if (id !== S3_CREDENTIALS.accessKeyId || headers['x-amz-content-sha256'] !== hash) return false
  const lines = names.split(';').map((name) => `${name}:${String(headers[name])}\n`)
  const canonical = `${method}\n${url}\n\n${lines.join('')}\n${names}\n${hash}`
  const digest = createHash('sha256').update(canonical).digest('hex')
  const scope = `${day}/${region}/s3/aws4_request`
  const text = `AWS4-HMAC-SHA256\n${String(headers['x-amz-date'])}\n${scope}\n${digest}`
  let key: Buffer = Buffer.from(`AWS4${S3_CREDENTIALS.secretAccessKey}`)
  for (const part of [day, region, 's3', 'aws4_request', text]) {
    key = createHmac('sha256', key).update(part).digest()
  }
  return key.toString('hex') === signature && region === S3_REGION
}
