/**
 * Errors and notices of pgnap as messages of the Postgres protocol. They hold only what is for the
 * user: never a stack trace, a path or another tenant's name.
 *
 * Source: Postgres manual, section 54.8.
 */
import { utf8 } from './bytes.ts'
import type { ERRORS, PgnapError } from './errors.ts'
import { message } from './protocol-message.ts'

/** Letters and texts; without a text, there is no such field. */
export type MessageFields = readonly (readonly [letter: string, text: string | undefined])[]

/**
 * An error of pgnap as ErrorResponse. FATAL tells the client that the connection ends with it.
 * INTERNAL errors show their text: it is ours, and an operator finds the cause in the log.
 */
export function errorResponse(error: PgnapError, severity: 'ERROR' | 'FATAL'): Uint8Array {
  return messageOfFields('E', [
    ['S', severity],
    ['V', severity],
    ['C', error.sqlState],
    ['M', error.message],
    ['D', error.detail],
    ['H', error.hint],
    ['R', error.code satisfies keyof typeof ERRORS],
  ])
}

/** Something that a client may want to know, beside its answer. */
export function noticeResponse(text: string): Uint8Array {
  return messageOfFields('N', [
    ['S', 'NOTICE'],
    ['V', 'NOTICE'],
    ['C', '00000'],
    ['M', text],
  ])
}

/** @param type E: an ErrorResponse; N: a NoticeResponse */
export function messageOfFields(type: 'E' | 'N', fields: MessageFields): Uint8Array {
  let body = ''
  for (const [letter, text] of fields) {
    // A message may quote what a client typed, zero characters included.
    if (text !== undefined) body += `${letter}${text.replaceAll('\0', '')}\0`
  }
  return message(type, utf8(`${body}\0`))
}
