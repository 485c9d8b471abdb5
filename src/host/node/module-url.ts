/**
 * The file of a module beside another one: source files in a checkout, compiled ones in the
 * package. TypeScript rewrites extensions in imports, but not in the name of a program or worker to
 * start.
 */
export function besideModule(moduleUrl: string, name: string): URL {
  return new URL(`${name}${moduleUrl.endsWith('.ts') ? '.ts' : '.js'}`, moduleUrl)
}
