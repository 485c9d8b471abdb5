/**
 * Says what is meant where Postgres cannot load a library that converts between encodings: some of
 * them are left out (docs/decisions/0031). Its own error tells of a missing file and where in
 * the module's file system it would lie, which is nobody's business and leads nowhere; this one has
 * the SQLSTATE that Postgres has for encodings that it cannot convert.
 *
 * Only what leaves the backend is changed: a handler in PL/pgSQL sees Postgres's own error.
 *
 * Source: Postgres 18, dfmgr.c (internal_load_library); mbutils.c (check_client_encoding).
 */
import { concatBytes, fromUtf8 } from '../base/bytes.ts'
import { type MessageFields, messageOfFields } from '../base/error-message.ts'
import { eachMessage } from '../base/message-frames.ts'

const ERROR_RESPONSE = 0x45
const HEAD_BYTES = 5
/** Who has raised it: nobody can make that up by RAISE. */
const ROUTINE = 'internal_load_library'
/** As `utf8_and_euc_jp.so`, wherever it lies; without an ending, if it lies nowhere (Workers). */
const LIBRARY = /\/(\w+_and_\w+|euc2004_sjis2004)\.so"|"(utf8_and_\w+)"/
const HINT =
  'use client_encoding UTF8; psql does after "set PGCLIENTENCODING=UTF8" (Windows), ' +
  'or "export PGCLIENTENCODING=UTF8"'
const FEATURE_NOT_SUPPORTED = '0A000'
/** Letters whose fields are not true of this error any more. */
const REPLACED: ReadonlySet<string> = new Set(['C', 'M', 'D', 'H', 'F', 'L', 'R'])

/**
 * An answer in which each such error is put in words for people; the same one if there is none.
 * @param answer whole messages, at least one of them an error
 */
export function explainConversions(answer: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = []
  let kept = 0
  eachMessage(answer, (type, at, end) => {
    if (type !== ERROR_RESPONSE) return
    const explained = explain(answer.subarray(at + HEAD_BYTES, end))
    if (!explained) return
    parts.push(answer.subarray(kept, at), explained)
    kept = end
  })
  return kept === 0 ? answer : concatBytes([...parts, answer.subarray(kept)])
}

/** Undefined if the error is another one. */
function explain(body: Uint8Array): Uint8Array | undefined {
  const fields = fromUtf8(body)
    .split('\0')
    .filter((field) => field !== '')
    .map((field) => [field.slice(0, 1), field.slice(1)] as const)
  const valueOf = (letter: string): string => fields.find(([name]) => name === letter)?.[1] ?? ''
  const named = valueOf('R') === ROUTINE ? LIBRARY.exec(valueOf('M')) : null
  const library = named?.[1] ?? named?.[2]
  if (library === undefined) return undefined
  const said: MessageFields = [
    ['C', FEATURE_NOT_SUPPORTED],
    ['M', 'conversion between character encodings is not supported'],
    ['D', `Postgres's conversion ${library} is not available on this server.`],
    ['H', HINT],
  ]
  return messageOfFields('E', [...fields.filter(([name]) => !REPLACED.has(name)), ...said])
}
