/**
 * Says what is meant where Postgres's own error tells of something that is not there: it does not
 * know that its files lie in a store, or that some of its libraries are left out.
 *
 * Only what leaves the backend is changed: a handler in PL/pgSQL sees Postgres's own error.
 */
import { concatBytes, fromUtf8 } from '../base/bytes.ts'
import { type MessageFields, messageOfFields } from '../base/error-message.ts'
import { eachMessage } from '../base/message-frames.ts'
import type { FileLimit } from '../store/file-node.ts'
import { conversionError } from './conversion-errors.ts'
import { roomError } from './room-errors.ts'

const ERROR_RESPONSE = 0x45
const HEAD_BYTES = 5

/** Fields of an error that Postgres has raised, by their letters. */
export type RaisedError = ReadonlyMap<string, string>

/** What is said instead of it: these fields, and of its own only those that none of them names. */
export interface ToldError {
  readonly fields: MessageFields
  /** Letters of fields that are not true of it any more. */
  readonly dropped: ReadonlySet<string>
}

/**
 * An answer whose errors are in words for people; the same one if there is nothing to be said.
 * @param answer whole messages, at least one of them an error
 * @param met for each of its errors the limit of its files that Postgres has met, if any
 */
export function explainErrors(
  answer: Uint8Array,
  met: readonly (FileLimit | undefined)[],
): Uint8Array {
  const parts: Uint8Array[] = []
  let kept = 0
  let count = 0
  eachMessage(answer, (type, at, end) => {
    if (type !== ERROR_RESPONSE) return
    const raised = fieldsOf(answer.subarray(at + HEAD_BYTES, end))
    const limit = met[count++]
    const told = conversionError(raised) ?? (limit && roomError(raised, limit))
    if (!told) return
    const { fields, dropped } = told
    const own = [...raised].filter(([letter]) => !dropped.has(letter))
    parts.push(answer.subarray(kept, at), messageOfFields('E', [...own, ...fields]))
    kept = end
  })
  return kept === 0 ? answer : concatBytes([...parts, answer.subarray(kept)])
}

function fieldsOf(body: Uint8Array): RaisedError {
  const fields = fromUtf8(body)
    .split('\0')
    .filter((field) => field !== '')
  return new Map(fields.map((field) => [field.slice(0, 1), field.slice(1)]))
}
