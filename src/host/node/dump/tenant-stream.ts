/**
 * The ways to a tenant for a client that runs on this side of the wire: through the WebSocket of a
 * server that runs somewhere, or within this process, to a backend that has no port at all.
 */
import { once } from 'node:events'
import { type Duplex, duplexPair } from 'node:stream'
import type { SecureContextOptions } from 'node:tls'
import { PgnapError, errorText } from '../../../base/errors.ts'
import { WEB_SOCKET_PATH } from '../../../front/http/app.ts'
import { parseTenantName } from '../../../router/tenant-name.ts'
import { systemRandom } from '../random.ts'
import type { Backend } from '../server.ts'
import { newProcessId } from '../shard/process-id.ts'

/** @param root of the server's HTTP. @param trust which certificates are taken; default: Node's */
export async function streamOverHttp(root: URL, trust: SecureContextOptions = {}): Promise<Duplex> {
  const { WebSocket, createWebSocketStream } = await import('ws')
  const url = new URL(WEB_SOCKET_PATH.slice(1), root)
  url.protocol = url.protocol.replace('http', 'ws')
  const webSocket = new WebSocket(url, {
    ...trust,
    perMessageDeflate: false,
    skipUTF8Validation: true,
    // An answer comes in frames of any size; what is too large for one the server itself says.
    maxPayload: 0,
  })
  try {
    await once(webSocket, 'open')
  } catch (cause) {
    throw new PgnapError('SERVER_UNREACHABLE', `no WebSocket opens at ${root.origin}`, {
      cause,
      detail: errorText(cause),
      hint: 'name the HTTP port with --url; a proxy before it has to let WebSockets through',
    })
  }
  return createWebSocketStream(webSocket)
}

/** Rejects with TENANT_NAME_INVALID, and STARTING if the shard is being started again. */
export async function streamWithin(
  { shards, handover }: Pick<Backend, 'shards' | 'handover'>,
  tenant: string,
): Promise<Duplex> {
  const visit = await shards.enter(parseTenantName(tenant), 'connection')
  const [near, far] = duplexPair()
  far.once('close', () => visit[Symbol.dispose]())
  const peer = { address: '', port: 0, localAddress: '', localPort: 0 }
  const processId = newProcessId(systemRandom, visit.shard, shards.count)
  const nothing = new Uint8Array(0)
  if (handover.hand(far, visit.shard, { peer, processId }, nothing, processId)) return near
  far.destroy()
  throw new PgnapError('STARTING', 'the thread that serves this tenant is being started', {
    hint: 'try again in a moment',
  })
}
