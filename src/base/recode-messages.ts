/** Messages of a backend whose texts are to be in another encoding. */
import { concatBytes } from './bytes.ts'
import { eachMessage } from './message-frames.ts'
import { message } from './protocol-message.ts'

const HEAD_BYTES = 5
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export interface Recoding {
  /** Of the messages that it is about. */
  readonly type: string
  /** Where their texts begin in a body, each with a zero at its end. */
  readonly textsAt: number
  /** Undefined: it cannot be said in that encoding, and stays as it is. */
  readonly convert: (text: Uint8Array) => Uint8Array | undefined
}

/** `messages` themselves, if nothing in them is another text then. */
export function recodeMessages(messages: Uint8Array, recoding: Recoding): Uint8Array {
  const { type, textsAt } = recoding
  const parts: Uint8Array[] = []
  let kept = 0
  eachMessage(messages, (letter, at, end) => {
    if (letter !== type.charCodeAt(0)) return
    const textAt = at + HEAD_BYTES + textsAt
    const texts = messages.subarray(textAt, end)
    if (!isForeign(texts)) return
    const head = messages.subarray(at + HEAD_BYTES, textAt)
    parts.push(
      messages.subarray(kept, at),
      message(type, concatBytes([head, ...each(texts, recoding)])),
    )
    kept = end
  })
  return kept === 0 ? messages : concatBytes([...parts, messages.subarray(kept)])
}

function each(texts: Uint8Array, { convert }: Recoding): Uint8Array[] {
  const parts: Uint8Array[] = []
  for (let at = 0; at < texts.length;) {
    const end = texts.indexOf(0, at)
    const text = texts.subarray(at, end)
    parts.push(convert(text) ?? text, texts.subarray(end, end + 1))
    at = end + 1
  }
  return parts
}

/** Whether it is text of UTF-8 that is not the same in every encoding. */
function isForeign(bytes: Uint8Array): boolean {
  if (bytes.every((byte) => byte < 0x80)) return false
  try {
    return strict.decode(bytes) !== ''
  } catch {
    return false
  }
}
