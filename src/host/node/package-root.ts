/**
 * The folder of this package: a checkout, or what npm installed. Looked for upwards, because code
 * lies at another depth in a checkout (one file per module) than in `dist` (bundled).
 */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

let known: string | undefined

/** Found once per thread; throws only if the package has been torn apart. */
export function packageRoot(): string {
  if (known !== undefined) return known
  let folder = import.meta.dirname
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error(`no package.json above ${import.meta.dirname}`)
    folder = parent
  }
  return (known = folder)
}
