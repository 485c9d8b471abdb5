/** Where npm has put the stock files of PGlite. */
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

let known: string | undefined

/** The folder that a package's main module is in. */
export function folderOf(name: string): string {
  return dirname(fileURLToPath(import.meta.resolve(name)))
}

/** Looked for once per thread. */
export function stockFolder(): string {
  return (known ??= folderOf('@electric-sql/pglite'))
}

export function stockFile(name: string): string {
  return join(stockFolder(), name)
}
