/** What a backend's answer says of the backend. */
import { fromUtf8 } from '../base/bytes.ts'
import type { TransactionStatus } from './engine.ts'

const MESSAGE_READY = 0x5a
const MESSAGE_ERROR = 0x45
const STATUS_BY_BYTE: Readonly<Record<number, TransactionStatus>> = {
  0x49: 'idle',
  0x54: 'transaction',
  0x45: 'failed',
}

/** Transaction status in the ReadyForQuery that ends `answer`, if one does. */
export function statusOf(answer: Uint8Array): TransactionStatus | undefined {
  // ReadyForQuery is the only message of 6 bytes that can stand last with this type and length.
  const at = answer.length - 6
  if (at < 0 || answer[at] !== MESSAGE_READY || answer[at + 4] !== 5) return undefined
  return STATUS_BY_BYTE[answer[at + 5] ?? 0]
}

/** Text of the ErrorResponse in a run of complete backend messages that ends the backend. */
export function fatalText(answer: Uint8Array): string | undefined {
  const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
  for (let at = 0; at + 5 <= answer.length; at += 1 + view.getUint32(at + 1)) {
    if (answer[at] !== MESSAGE_ERROR) continue
    const fields = fromUtf8(answer.slice(at + 5, at + 1 + view.getUint32(at + 1))).split('\0')
    if (!fields.includes('VFATAL')) continue
    return fields.find((field) => field.startsWith('M'))?.slice(1)
  }
  return undefined
}
