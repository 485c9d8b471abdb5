/** Which pgnap this is, from the package that the program was started from. */
import { readFileSync } from 'node:fs'

/** The version of package.json, which lies two folders above both src/cli and dist/cli. */
export function packageVersion(): string {
  const file = new URL('../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
