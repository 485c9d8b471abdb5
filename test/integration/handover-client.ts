/** A client of the handover's tests: a socket whose bytes can be waited for. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'

export class TestClient {
  readonly socket: Socket
  #chunks: Buffer[] = []
  #length = 0
  #hasEnded = false
  #errorCode: string | undefined
  #isClosed = false
  #wake: () => void = () => {}

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.#chunks.push(bytes)
      this.#length += bytes.length
      this.#wake()
    })
    socket.on('end', () => {
      this.#hasEnded = true
      this.#wake()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#errorCode = error.code
    })
    socket.on('close', () => {
      this.#isClosed = true
      this.#wake()
    })
  }

  /** Connects; half-open, so that the client's own end is always explicit. */
  static async connect(port: number, firstBytes = ''): Promise<TestClient> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    const client = new TestClient(socket)
    await once(socket, 'connect')
    if (firstBytes !== '') socket.write(firstBytes)
    return client
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  get errorCode(): string | undefined {
    return this.#errorCode
  }

  /** Everything received and not taken yet. */
  take(): Buffer {
    const whole = Buffer.concat(this.#chunks)
    this.#chunks = []
    this.#length = 0
    return whole
  }

  /** Waits for `count` bytes and takes what there is; fewer if the stream is over before. */
  async read(count: number): Promise<Buffer> {
    await this.#until(() => this.#length >= count)
    return this.take()
  }

  /** Waits for the server's end and takes what there is. */
  async readToEnd(): Promise<Buffer> {
    await this.#until(() => false)
    return this.take()
  }

  async closed(): Promise<void> {
    while (!this.#isClosed) await this.#change()
  }

  /** Sends a line and takes the answer, which must be as long as `expected`. */
  async ask(line: string, expected: string): Promise<string> {
    this.socket.write(`${line}\n`)
    return (await this.read(Buffer.byteLength(expected))).toString()
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition() && !this.#hasEnded && !this.#isClosed) await this.#change()
  }

  #change(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    return promise
  }
}
