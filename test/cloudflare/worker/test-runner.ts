/**
 * Stands for `node:test` inside of workerd, which has none: the suites of test/conformance run
 * there as they are. Tests are collected while a suite is declared, and run one by one.
 */
type Body = (context: { skip(reason: string): void }) => void | Promise<void>

/** How a test has ended: passed if there is neither. */
export interface Outcome {
  readonly name: string
  readonly failure?: string
  readonly skipped?: string
}

let collected: { name: string; body: Body }[] = []

export function describe(name: string, declare: () => void): void {
  const outer = collected
  collected = []
  declare()
  collected = [...outer, ...collected.map((each) => ({ ...each, name: `${name}: ${each.name}` }))]
}

export function test(name: string, body: Body): void {
  collected.push({ name, body })
}

/** Runs what `declare` declares. */
export async function run(declare: () => void): Promise<Outcome[]> {
  collected = []
  declare()
  const outcomes: Outcome[] = []
  for (const { name, body } of collected) outcomes.push({ name, ...(await outcomeOf(body)) })
  return outcomes
}

async function outcomeOf(body: Body): Promise<Omit<Outcome, 'name'>> {
  let skipped: string | undefined
  try {
    await body({ skip: (reason) => (skipped = reason) })
  } catch (error) {
    return { failure: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
  return skipped === undefined ? {} : { skipped }
}
