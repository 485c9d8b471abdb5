/**
 * What a client program printed, as tests by name, and how two such outputs compare. A line
 * `== name` begins a section. What may differ between any two servers is made equal first:
 * versions, process ids, numbers of objects, times.
 */

const SECTION = /^== (.+)$/
const EVERYWHERE: readonly (readonly [RegExp, string])[] = [
  [/\b18\.\d+\b/g, '18.N'],
  [/\b18000[0-9]\b/g, '18000N'],
  [/\b(?:native|pgnap)_[a-z0-9_]+\b/g, 'DATABASE'],
  [/\b(?:pid|PID|process) \d+\b/g, 'pid N'],
  [/\b\d+\.\d+ ms\b/g, 'N ms'],
  [/at port "\d+"/g, 'at port "N"'],
]

/** By name, in order. What stands before the first section is called `start`. */
export function sectionsOf(output: string): ReadonlyMap<string, string> {
  const sections = new Map<string, string[]>()
  let lines: string[] = []
  sections.set('start', lines)
  for (const line of output.split('\n')) {
    const [, name] = SECTION.exec(line) ?? []
    if (name === undefined) lines.push(line.trimEnd())
    else sections.set(name, (lines = []))
  }
  return new Map(Array.from(sections, ([name, parts]) => [name, alike(parts.join('\n').trim())]))
}

function alike(text: string): string {
  return EVERYWHERE.reduce((given, [found, instead]) => given.replaceAll(found, instead), text)
}

export interface Verdict {
  readonly test: string
  readonly outcome: 'same' | 'different' | 'known'
  /** Of a known difference, why; of one that is not known, both outputs. */
  readonly text: string
}

/**
 * The oracle's sections against pgnap's.
 * @param known reasons of differences by test; one that is none any more is `different`
 */
export function compare(
  oracle: ReadonlyMap<string, string>,
  ours: ReadonlyMap<string, string>,
  known: Readonly<Record<string, string>>,
): Verdict[] {
  const tests = new Set([...oracle.keys(), ...ours.keys(), ...Object.keys(known)])
  return Array.from(tests, (test): Verdict => {
    const expected = oracle.get(test) ?? '(no such test)'
    const actual = ours.get(test) ?? '(no such test)'
    const reason = known[test]
    if (expected === actual) {
      if (reason === undefined) return { test, outcome: 'same', text: '' }
      return { test, outcome: 'different', text: 'is listed as a difference and is none' }
    }
    if (reason !== undefined) return { test, outcome: 'known', text: reason }
    return { test, outcome: 'different', text: `native:\n${expected}\npgnap:\n${actual}` }
  }).filter(({ test, outcome }) => test !== 'start' || outcome !== 'same')
}
