/**
 * Where WebSockets come in that carry the Postgres protocol. The object of the tenant is to have
 * the client's own socket, which sleeps there at no cost; but a socket has to be handed on before
 * anything was said on it. So the address may name the tenant:
 *
 *     wss://db.example.com/v2?tenant=acme        wss://acme.db.example.com/v2  (PGNAP_DOMAIN)
 *
 * Drivers that know one address for all databases name it in their first message only. For those
 * the Worker takes the socket, reads that message, and carries bytes between the client and the
 * object from then on: the same protocol, and a Worker that stays for as long as the client does.
 */
import { PgnapError, toPgnapError } from '../../base/errors.ts'
import { errorResponse } from '../../base/error-message.ts'
import { LIMITS } from '../../base/limits.ts'
import { concatBytes } from '../../base/bytes.ts'
import { errorAnswer } from '../../front/http/answers.ts'
import { ENCRYPTION_REFUSED } from '../../front/wire/server-messages.ts'
import { parseStartup } from '../../front/wire/startup.ts'
import { parseTenantAddress, parseTenantName } from '../../router/tenant-name.ts'
import { selectTenant } from '../../router/tenant-selection.ts'
import { workerClock } from './clock.ts'
import type { Environment } from './environment.ts'
import { reached } from './outcome.ts'
import { TENANT_HEADER } from './tenant-object.ts'

const TENANT_PARAMETER = 'tenant'
const CLOSE = { normal: 1000, unsupportedData: 1003, goingAway: 1001, tooBig: 1009 } as const
/** Codes that a Close frame may not carry: what a socket says that was closed without one. */
const RESERVED_CLOSE_CODES: ReadonlySet<number> = new Set([1004, 1005, 1006, 1015])

/** Answers a request for a WebSocket that may be made. */
export async function openWebSocket(request: Request, environment: Environment): Promise<Response> {
  const named = tenantIn(request, environment)
  if (named !== undefined) return handOn(request, environment, named).catch(refusal)
  const { 0: client, 1: socket } = new WebSocketPair()
  socket.binaryType = 'arraybuffer'
  socket.accept()
  carry(socket, request, environment)
  return new Response(null, { status: 101, webSocket: client })
}

/** What the address says; undefined if nothing. */
function tenantIn({ url }: Request, { PGNAP_DOMAIN }: Environment): string | undefined {
  const { searchParams, hostname } = new URL(url)
  const parameter = searchParams.get(TENANT_PARAMETER)
  if (parameter !== null) return parameter
  if (PGNAP_DOMAIN === undefined || !hostname.endsWith(`.${PGNAP_DOMAIN}`)) return undefined
  return hostname.slice(0, -PGNAP_DOMAIN.length - 1)
}

async function handOn(
  request: Request,
  environment: Environment,
  tenant: string,
): Promise<Response> {
  const name = parseTenantName(tenant)
  const headers = new Headers(request.headers)
  headers.set(TENANT_HEADER, name)
  return reached(environment.TENANTS.getByName(name).fetch(new Request(request, { headers })))
}

/** Where there is no socket yet on which it could be said in the protocol. */
function refusal(error: unknown): Response {
  const { status, body } = errorAnswer(error)
  return Response.json(body, { status })
}

/** Reads the first message of a client, and brings it to its object. */
function carry(socket: WebSocket, request: Request, environment: Environment): void {
  let early: Uint8Array[] = []
  let earlyBytes = 0
  let inner: WebSocket | undefined
  let isOpening = false
  const timer = workerClock.setTimer(LIMITS.authenticationMs, () => {
    if (!isOpening) socket.close(CLOSE.goingAway, 'nothing was asked for')
  })
  const fail = (error: unknown): void => {
    if (socket.readyState !== WebSocket.OPEN) return
    socket.send(errorResponse(toPgnapError(error), 'FATAL').slice())
    socket.close(CLOSE.normal)
  }
  const open = async (tenant: string): Promise<void> => {
    isOpening = true
    const { webSocket } = await handOn(request, environment, tenant)
    if (!webSocket) throw new PgnapError('INTERNAL', 'the object of a tenant took no WebSocket')
    webSocket.binaryType = 'arraybuffer'
    webSocket.accept()
    // Who has left meanwhile is not to stay there as a session.
    if (socket.readyState !== WebSocket.OPEN) return webSocket.close(CLOSE.normal)
    join(webSocket, socket)
    for (const bytes of early) webSocket.send(bytes)
    early = []
    inner = webSocket
  }
  socket.addEventListener('message', ({ data }) => {
    if (typeof data === 'string') {
      return socket.close(CLOSE.unsupportedData, 'send the Postgres protocol in binary frames')
    }
    if (inner) return inner.send(data)
    early.push(new Uint8Array(data))
    earlyBytes += data.byteLength
    // Nobody takes it yet, and there is no way to slow a client down.
    if (earlyBytes > LIMITS.isolateAheadBytesMax) {
      early = []
      return socket.close(CLOSE.tooBig, 'too much was sent ahead of its answers')
    }
    if (isOpening) return
    try {
      const { tenant, rest } = read(concatBytes(early), request, environment)
      if (rest.length < concatBytes(early).length) socket.send(ENCRYPTION_REFUSED)
      early = [rest]
      if (tenant !== undefined) open(tenant).catch(fail)
    } catch (error) {
      fail(error)
    }
  })
  socket.addEventListener('close', ({ code, reason }) => {
    timer.cancel()
    close(inner, code, reason)
    // Its Close frame is ours to answer: else the client waits for that, and the platform for us.
    if (socket.readyState === WebSocket.CLOSING) socket.close(sayable(code), reason)
  })
}

/**
 * Which tenant the first bytes of a client name; undefined: more has to come.
 * @returns with it what is for the object, without a question for encryption, which is answered
 */
function read(
  bytes: Uint8Array,
  { url }: Request,
  { PGNAP_DOMAIN }: Environment,
): { readonly tenant: string | undefined; readonly rest: Uint8Array } {
  const asked = parseStartup(bytes)
  switch (asked.kind) {
    case 'incomplete':
      if (bytes.length <= LIMITS.startupPacketBytesMax) return { tenant: undefined, rest: bytes }
      throw new PgnapError('PROTOCOL_VIOLATION', 'a startup packet that does not end')
    case 'ssl':
    case 'gssenc':
      return { tenant: undefined, rest: bytes.slice(asked.byteLength) }
    case 'startup': {
      const { database } = selectTenant(
        { ...asked, serverName: new URL(url).hostname },
        PGNAP_DOMAIN,
      )
      return { tenant: parseTenantAddress(database).tenant, rest: bytes }
    }
    case 'invalid':
      throw asked.error
    case 'cancel':
    case 'goodbye':
      throw new PgnapError('PROTOCOL_VIOLATION', 'a client has to ask for a database first')
  }
}

/** What the object says goes to the client, to the end. */
function join(inner: WebSocket, socket: WebSocket): void {
  inner.addEventListener('message', ({ data }) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(data)
  })
  inner.addEventListener('close', ({ code, reason }) => close(socket, code, reason))
}

function close(socket: WebSocket | undefined, code: number, reason: string): void {
  if (socket?.readyState === WebSocket.OPEN) socket.close(sayable(code), reason)
}

function sayable(code: number): number {
  return RESERVED_CLOSE_CODES.has(code) ? CLOSE.normal : code
}
