/**
 * The wire protocol by hand, in the clear and inside TLS: for tests that must send what no driver
 * would, or must see what a driver hides.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type Socket, connect } from 'node:net'
import { type ConnectionOptions, type TLSSocket, connect as connectTls } from 'node:tls'
import type { Target } from './clients.ts'
import { ROOT } from './tls-files.ts'

export const SSL_REQUEST: Buffer = request(80_877_103)
export const GSSENC_REQUEST: Buffer = request(80_877_104)

function request(code: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeInt32BE(8, 0)
  bytes.writeInt32BE(code, 4)
  return bytes
}

/** A startup packet of protocol 3.0. */
export function startupPacket(database: string, user = 'postgres'): Buffer {
  const text = Buffer.from(`user\0${user}\0database\0${database}\0\0`)
  const head = Buffer.alloc(8)
  head.writeInt32BE(8 + text.length, 0)
  head.writeInt32BE(3 << 16, 4)
  return Buffer.concat([head, text])
}

export function queryMessage(sql: string): Buffer {
  const text = Buffer.from(`${sql}\0`)
  const head = Buffer.from('Q\0\0\0\0')
  head.writeInt32BE(4 + text.length, 1)
  return Buffer.concat([head, text])
}

/** A connection that has said nothing yet. */
export async function plainSocket({ port }: Target): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** What comes next, at least `count` bytes; fewer if the server ends before. */
export async function readBytes(socket: Socket, count: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const read = (chunk: Buffer): void => {
    chunks.push(chunk)
    if (Buffer.concat(chunks).length >= count) resolve()
  }
  socket.on('data', read).once('end', resolve).once('close', resolve)
  socket.resume()
  if (socket.destroyed || socket.readableEnded) resolve()
  await promise
  socket.pause()
  socket.off('data', read).off('end', resolve).off('close', resolve)
  return Buffer.concat(chunks)
}

/** All that comes until the server ends. */
export function readToEnd(socket: Socket): Promise<Buffer> {
  return readBytes(socket, Number.POSITIVE_INFINITY)
}

/** TLS as libpq's default has it: asked for, granted, shaken hands on. */
export async function negotiatedTls(
  target: Target,
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  return negotiate(await plainSocket(target), options)
}

/** The same over a connection that the test wants to break below it. */
export async function negotiate(
  socket: Socket,
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  socket.write(SSL_REQUEST)
  assert.equal(String(await readBytes(socket, 1)), 'S')
  return handshake({ socket, ...options })
}

/** TLS from the first byte on, as `sslnegotiation=direct`. */
export function directTls({ port }: Target, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return handshake({ port, host: '127.0.0.1', ALPNProtocols: ['postgresql'], ...options })
}

async function handshake(options: ConnectionOptions): Promise<TLSSocket> {
  const inside = connectTls({ ca: ROOT, servername: 'localhost', ...options })
  await once(inside, 'secureConnect')
  inside.on('error', () => {})
  return inside
}

/** Says who it is and reads the greeting, of a server without passwords. */
export async function greet(inside: Socket, database: string): Promise<Buffer> {
  inside.write(startupPacket(database))
  let greeting = await readBytes(inside, 1)
  while (!greeting.includes('Z\0\0\0\x05I')) {
    const more = await readBytes(inside, 1)
    assert.ok(more.length > 0, `the greeting ends early: ${String(greeting)}`)
    greeting = Buffer.concat([greeting, more])
  }
  return greeting
}

/** The request that cancels what the client runs that was greeted so. */
export function cancelRequestIn(greeting: Buffer): Buffer {
  const at = greeting.indexOf('K\0\0\0\x0c')
  assert.ok(at >= 0, 'a greeting has a key for cancel requests')
  const head = Buffer.alloc(8)
  head.writeInt32BE(16, 0)
  head.writeInt32BE(80_877_102, 4)
  return Buffer.concat([head, greeting.subarray(at + 5, at + 13)])
}
