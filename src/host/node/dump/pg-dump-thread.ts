/**
 * The thread of one pg_dump. It receives, sends and writes by functions that cannot wait, as a
 * program of C does; so it has a thread of its own, which sleeps while the other one does that.
 *
 *     pg_dump --- receive, send, write ---> ask ---> the thread that has the connection
 *                                       <--- answer, by a message and a signal
 *
 * What it writes goes into a device and not into its file system, which lies in memory: so a dump
 * of any size takes as much of it as the longest row.
 */
import { receiveMessageOnPort, workerData } from 'node:worker_threads'
import { type PgDumpModule, loadPgDump } from './pg-dump-files.ts'
import { type PgDumpRequest, type PgDumpTask, OUTPUT_DEVICE } from './pg-dump-protocol.ts'

/** Written together: a round trip between threads for each line would take longer than pg_dump. */
const WRITE_BYTES = 65_536
/** Where it looks for itself, of which it would complain otherwise. */
const PROGRAM = '/pg_dump'
const DEVICE_MAJOR = 64
const NOTHING = new Uint8Array(0)

const { port, signal, words } = workerData as PgDumpTask
const written = new Uint8Array(WRITE_BYTES)
let writtenBytes = 0
let received: Uint8Array = NOTHING
let hasJustReceived = false
let exitCode = 0

const { create, wasm } = loadPgDump()
const program = await create({
  wasmBinary: wasm,
  thisProgram: PROGRAM,
  noExitRuntime: false,
  print: () => {},
  printErr: (line) => port.postMessage({ kind: 'said', line } satisfies PgDumpRequest),
  onExit: (status) => void (exitCode = status),
  preRun: [prepare],
})
program.callMain([...words])
flush()
// Whoever hears it ends this thread, which must not be gone before it is heard.
ask({ kind: 'ended', exitCode })

function prepare(module: PgDumpModule): void {
  module.ENV['USER'] = 'postgres'
  module.onRuntimeInitialized = () => {
    const device = module.FS.makedev(DEVICE_MAJOR, 0)
    module.FS.registerDevice(device, {
      open: (stream) => void (stream.seekable = false),
      write: (_stream, memory, at, bytes) => write(memory.subarray(at, at + bytes)),
    })
    module.FS.mkdev(OUTPUT_DEVICE, 0o600, device)
    module.FS.writeFile(PROGRAM, '', { mode: 0o700 })
    const receiving = module.addFunction((to, bytesMax) => receive(module, to, bytesMax), 'iii')
    const sending = module.addFunction((from, bytes) => {
      // A copy: the memory may be another one when it is read.
      ask({ kind: 'send', bytes: module.HEAPU8.slice(from, from + bytes) })
      hasJustReceived = false
      return bytes
    }, 'iii')
    module._pgl_set_rw_cbs(receiving, sending)
  }
}

/**
 * Nothing means two things to libpq, as a socket that does not block does: that there is nothing
 * for now, or, if it asks again at once, that there is no more. It reads on after a success, to see
 * whether there is more; only if it asks again it needs what it asks for.
 */
function receive(module: PgDumpModule, to: number, bytesMax: number): number {
  if (received.length === 0) {
    if (hasJustReceived) {
      hasJustReceived = false
      return 0
    }
    received = ask({ kind: 'receive' })
  }
  const part = received.subarray(0, bytesMax)
  module.HEAPU8.set(part, to)
  received = received.subarray(part.length)
  hasJustReceived = part.length > 0
  return part.length
}

function write(bytes: Uint8Array): number {
  for (let at = 0; at < bytes.length;) {
    const part = bytes.subarray(at, at + WRITE_BYTES - writtenBytes)
    written.set(part, writtenBytes)
    writtenBytes += part.length
    at += part.length
    if (writtenBytes === WRITE_BYTES) flush()
  }
  return bytes.length
}

function flush(): void {
  if (writtenBytes > 0) ask({ kind: 'write', bytes: written.slice(0, writtenBytes) })
  writtenBytes = 0
}

/** Sleeps until it is done. */
function ask(request: PgDumpRequest): Uint8Array {
  Atomics.store(signal, 0, 0)
  port.postMessage(request)
  Atomics.wait(signal, 0, 0)
  const answer = receiveMessageOnPort(port) as { readonly message: Uint8Array } | undefined
  return answer?.message ?? NOTHING
}
