/**
 * The client's side of SCRAM-SHA-256, written against the RFC with another library than the
 * server's; and a login with it, message by message, for tests that must stop in between.
 */
import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import type { Socket } from 'node:net'
import { readBytes, startupPacket } from './raw-tls.ts'

export interface ClientFinalOptions {
  readonly password: string
  /** The client's first message without its GS2 header. */
  readonly bare: string
  readonly serverFirst: string
  /** What `c=` says: the GS2 header, and what the channel is bound to. Default: `n,,` */
  readonly header?: Uint8Array
}

/** The client's last message, and the server's that must follow. */
export function clientFinal(options: ClientFinalOptions): { final: string; serverFinal: string } {
  const { password, bare, serverFirst, header = Buffer.from('n,,') } = options
  const [, nonce = '', salt = '', count = ''] = /r=(.*),s=(.*),i=(.*)/.exec(serverFirst) ?? []
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(count), 32, 'sha256')
  const sign = (key: Buffer, text: string): Buffer =>
    createHmac('sha256', key).update(text).digest()
  const clientKey = sign(salted, 'Client Key')
  const storedKey = createHash('sha256').update(clientKey).digest()
  const withoutProof = `c=${Buffer.from(header).toString('base64')},r=${nonce}`
  const message = `${bare},${serverFirst},${withoutProof}`
  const signature = sign(storedKey, message)
  const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)))
  const serverSignature = sign(sign(salted, 'Server Key'), message).toString('base64')
  return {
    final: `${withoutProof},p=${proof.toString('base64')}`,
    serverFinal: `v=${serverSignature}`,
  }
}

/** One message of the server, from its type on. */
async function readMessage(socket: Socket): Promise<Buffer> {
  const chunk = await readBytes(socket, 5)
  assert.ok(chunk.length >= 5, 'the server says something')
  return chunk
}

function passwordMessage(body: Buffer): Buffer {
  const head = Buffer.from('p\0\0\0\0')
  head.writeInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body])
}

export interface RawLogin {
  readonly database: string
  readonly user: string
  readonly password: string
  readonly mechanism: 'SCRAM-SHA-256' | 'SCRAM-SHA-256-PLUS'
  /** The GS2 header. */
  readonly header: string
  readonly bound?: Uint8Array
}

/** What the server says in the end: `R` and what follows, or an error. */
export async function loginByHand(socket: Socket, login: RawLogin): Promise<Buffer> {
  const { database, user, password, mechanism, header, bound = new Uint8Array(0) } = login
  socket.write(startupPacket(database, user))
  await readMessage(socket)
  const bare = 'n=,r=nonce'
  const first = Buffer.from(header + bare)
  const length = Buffer.alloc(4)
  length.writeInt32BE(first.length)
  socket.write(passwordMessage(Buffer.concat([Buffer.from(`${mechanism}\0`), length, first])))
  const answer = await readMessage(socket)
  if (answer[0] !== 0x52) return answer
  const serverFirst = String(answer.subarray(9, 1 + answer.readInt32BE(1)))
  const binding = Buffer.concat([Buffer.from(header), bound])
  const { final } = clientFinal({ password, bare, serverFirst, header: binding })
  socket.write(passwordMessage(Buffer.from(final)))
  return readMessage(socket)
}
