/** Which pgnap this is, from the package that the program was started from. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../host/node/package-root.ts'

/** The version of package.json. */
export function packageVersion(): string {
  const file = join(packageRoot(), 'package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
