/**
 * Where Postgres cannot load a library that converts between encodings: some of them are left out
 * (docs/decisions/0031). Its own error tells of a missing file and where in the module's file
 * system it would lie, which is nobody's business and leads nowhere; this one has the SQLSTATE that
 * Postgres has for encodings that it cannot convert.
 *
 * Source: Postgres 18, dfmgr.c (internal_load_library); mbutils.c (check_client_encoding).
 */
import type { RaisedError, ToldError } from './answer-errors.ts'

/** Who has raised it: nobody can make that up by RAISE. */
const ROUTINE = 'internal_load_library'
/** As `utf8_and_euc_jp.so`, wherever it lies; without an ending, if it lies nowhere (Workers). */
const LIBRARY = /\/(\w+_and_\w+|euc2004_sjis2004)\.so"|"(utf8_and_\w+)"/
const HINT =
  'use client_encoding UTF8; psql does after "set PGCLIENTENCODING=UTF8" (Windows), ' +
  'or "export PGCLIENTENCODING=UTF8"'
const FEATURE_NOT_SUPPORTED = '0A000'
const REPLACED: ReadonlySet<string> = new Set(['C', 'M', 'D', 'H', 'F', 'L', 'R'])

/** Undefined if the error is another one. */
export function conversionError(raised: RaisedError): ToldError | undefined {
  const named = raised.get('R') === ROUTINE ? LIBRARY.exec(raised.get('M') ?? '') : null
  const library = named?.[1] ?? named?.[2]
  if (library === undefined) return undefined
  return {
    dropped: REPLACED,
    fields: [
      ['C', FEATURE_NOT_SUPPORTED],
      ['M', 'conversion between character encodings is not supported'],
      ['D', `Postgres's conversion ${library} is not available on this server.`],
      ['H', HINT],
    ],
  }
}
