/**
 * How many bytes a client has sent so far, whoever has read them. The kernel counts them for each
 * connection; another thread's reads, and what nobody has read yet, are in it, so a place in what a
 * client sends can be told from another thread at one moment, without a race.
 *
 * It is asked for when a client wants something cancelled, and never else.
 *
 * Source: tcp(7), TCP_INFO; linux/tcp.h, struct tcp_info: tcpi_bytes_received, since Linux 4.1.
 */
import { linkedFunctions } from '../ffi.ts'

/** Bytes that have come over a TCP connection; undefined if the kernel does not tell. */
export type AskSentBytes = (descriptor: number) => number | undefined

const [IPPROTO_TCP, TCP_INFO] = [6, 11]
const BYTES_RECEIVED_AT = 128
const INFO_BYTES = BYTES_RECEIVED_AT + 8

/** `getsockopt(2)`, where it has an answer and this Node can call it. */
export function loadAskSentBytes(): AskSentBytes | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const { getsockopt } = linkedFunctions({
      getsockopt: {
        arguments: ['int32', 'int32', 'int32', 'pointer', 'pointer'],
        return: 'int32',
      },
    })
    const info = new ArrayBuffer(INFO_BYTES)
    const received = new BigUint64Array(info, BYTES_RECEIVED_AT)
    const length = new Uint32Array(1)
    return (descriptor) => {
      length[0] = INFO_BYTES
      if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, info, length.buffer) !== 0) return undefined
      return length[0] === INFO_BYTES ? Number(received[0]) : undefined
    }
  } catch {
    // As with `dup(2)`: a cancel is then about what a client runs or waits for when it is heard.
    return undefined
  }
}
