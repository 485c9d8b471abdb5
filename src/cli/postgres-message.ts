/**
 * Errors of Postgres, printed as psql prints them: severity and message, the line of the statement
 * with a caret under the place, DETAIL, HINT. Text from a server may hold anything, so control
 * characters that would move a terminal's cursor are made visible.
 */
import { displayWidth, visible } from './display-width.ts'

/** Fields of an ErrorResponse by their letters (Postgres manual, section 54.8). */
export type PostgresFields = Readonly<Record<string, string>>

/**
 * The fields of an error that Postgres raised, wherever it was caught; undefined for other errors.
 */
export function postgresFieldsOf(error: unknown): PostgresFields | undefined {
  if (!(error instanceof Error) || error.name !== 'PostgresError' || !('fields' in error)) {
    return undefined
  }
  return error.fields as PostgresFields
}

/** Longest part of a statement's line that is shown, as in psql. */
const SHOWN_WIDTH_MAX = 60

/** The error as lines for a terminal, with its last newline. */
export function formatPostgresError(
  fields: PostgresFields,
  options: { readonly sql?: string } = {},
): string {
  const lines = [`${fields['V'] ?? 'ERROR'}:  ${visible(fields['M'] ?? '', { newlines: true })}`]
  const position = Number(fields['P'])
  if (options.sql !== undefined && position >= 1) lines.push(...pointInto(options.sql, position))
  if (fields['D'] !== undefined) lines.push(`DETAIL:  ${visible(fields['D'], { newlines: true })}`)
  if (fields['H'] !== undefined) lines.push(`HINT:  ${visible(fields['H'], { newlines: true })}`)
  if (fields['W'] !== undefined) lines.push(`CONTEXT:  ${visible(fields['W'], { newlines: true })}`)
  return `${lines.join('\n')}\n`
}

/** @param position of a character, counted from 1 in code points over the whole statement */
function pointInto(sql: string, position: number): string[] {
  const characters = Array.from(sql)
  // An error at the end of the input points one past its last character.
  const index = Math.min(position - 1, characters.length)
  // From -1 on, lastIndexOf would search from the end.
  const lineStart = index === 0 ? 0 : characters.lastIndexOf('\n', index - 1) + 1
  const newline = characters.indexOf('\n', index)
  const lineEnd = newline < 0 ? characters.length : newline
  const lineNumber = characters.slice(0, index).filter((each) => each === '\n').length + 1

  // The window keeps the place in sight when the line is too long to show.
  const from = Math.max(lineStart, Math.min(index - SHOWN_WIDTH_MAX / 2, lineEnd - SHOWN_WIDTH_MAX))
  const to = Math.min(lineEnd, from + SHOWN_WIDTH_MAX)
  const head = `LINE ${lineNumber}: ${from > lineStart ? '...' : ''}`
  const tail = to < lineEnd ? '...' : ''
  const before = visible(characters.slice(from, index).join(''))
  const shown = before + visible(characters.slice(index, to).join(''))
  return [`${head}${shown}${tail}`, `${' '.repeat(displayWidth(head + before))}^`]
}
