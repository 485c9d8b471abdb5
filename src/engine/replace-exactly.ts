/** A text, what it is replaced by, and how often it has to be there. */
export type Replacement = readonly [what: string, count: number, by: string]

/** Replaces texts in PGlite's glue. @throws Error if one is not there as often as it says */
export function replaceExactly(code: string, replacements: readonly Replacement[]): string {
  let replaced = code
  for (const [what, count, by] of replacements) {
    const parts = replaced.split(what)
    if (parts.length !== count + 1) {
      throw new Error(`PGlite's glue has "${what}" ${parts.length - 1} times, not ${count}`)
    }
    replaced = parts.join(by)
  }
  return replaced
}
