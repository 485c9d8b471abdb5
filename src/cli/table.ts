/**
 * Results as text for people: the table that psql prints, with its alignment and its `(n rows)`.
 * Values of several lines are continued below with `+`, as there.
 */
import { displayWidth, visible } from './display-width.ts'

export interface TableColumn {
  readonly name: string
  /** Numbers stand at the right. */
  readonly alignRight: boolean
}

/** One cell; null is NULL and shows as nothing. */
export type Cell = string | null

/** A table in psql's aligned format, without the line about rows; with its last newline. */
export function formatTable(
  columns: readonly TableColumn[],
  rows: readonly (readonly Cell[])[],
): string {
  if (columns.length === 0) return '--\n'
  const cells = rows.map((row) => row.map((cell) => linesOf(cell ?? '')))
  const heads = columns.map(({ name }) => visible(name))
  const widths = heads.map((head, index) =>
    cells.reduce((width, row) => widest(width, row[index] ?? []), displayWidth(head)),
  )
  const lines = [
    heads.map((head, index) => ` ${centered(head, widths[index] ?? 0)} `).join('|'),
    widths.map((width) => '-'.repeat(width + 2)).join('+'),
    ...cells.flatMap((row) => formatRow(row, columns, widths)),
  ]
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`
}

/** `(1 row)`, `(2 rows)`. */
export function rowsLine(count: number): string {
  return `(${count} ${count === 1 ? 'row' : 'rows'})\n`
}

function formatRow(
  row: readonly (readonly string[])[],
  columns: readonly TableColumn[],
  widths: readonly number[],
): string[] {
  const height = Math.max(...row.map((lines) => lines.length))
  return Array.from({ length: height }, (_, lineIndex) =>
    columns
      .map(({ alignRight }, index) => {
        const lines = row[index] ?? []
        const text = lines[lineIndex] ?? ''
        const mark = lineIndex + 1 < lines.length ? '+' : ' '
        const space = ' '.repeat((widths[index] ?? 0) - displayWidth(text))
        return alignRight ? ` ${space}${text}${mark}` : ` ${text}${space}${mark}`
      })
      .join('|'),
  )
}

/** One by one: there may be more rows, or lines, than a call takes arguments. */
function widest(width: number, lines: readonly string[]): number {
  return lines.reduce((most, line) => Math.max(most, displayWidth(line)), width)
}

function linesOf(text: string): string[] {
  return text.split('\n').map((line) => visible(line))
}

function centered(text: string, width: number): string {
  const space = width - displayWidth(text)
  const left = Math.floor(space / 2)
  return ' '.repeat(left) + text + ' '.repeat(space - left)
}
