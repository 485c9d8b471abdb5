/** Where npm has put the stock files of PGlite. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { packageRoot } from '../package-root.ts'

let known: string | undefined

/** The folder that a package's main module is in. */
export function folderOf(name: string): string {
  return dirname(createRequire(join(packageRoot(), 'package.json')).resolve(name))
}

/** Looked for once per thread. */
export function stockFolder(): string {
  return (known ??= folderOf('@electric-sql/pglite'))
}

export function stockFile(name: string): string {
  return join(stockFolder(), name)
}
