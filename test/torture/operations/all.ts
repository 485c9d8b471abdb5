/** Every operation, and the choice among them. */
import { assert } from '../../../src/base/assert.ts'
import type { Random } from '../../../src/base/random.ts'
import { BANK_OPERATIONS } from './bank.ts'
import type { Operation } from './operation.ts'
import { ROW_OPERATIONS } from './rows.ts'
import { SCHEMA_OPERATIONS } from './schema.ts'
import { TRANSACTION_OPERATIONS } from './transactions.ts'
import { UPKEEP_OPERATIONS } from './upkeep.ts'

export const OPERATIONS: readonly Operation[] = [
  ...ROW_OPERATIONS,
  ...TRANSACTION_OPERATIONS,
  ...BANK_OPERATIONS,
  ...SCHEMA_OPERATIONS,
  ...UPKEEP_OPERATIONS,
]

const TOTAL_WEIGHT = OPERATIONS.reduce((sum, { weight }) => sum + weight, 0)

/** One operation, each as often as its weight says. */
export function someOperation(random: Random): Operation {
  let at = random.below(TOTAL_WEIGHT)
  const chosen = OPERATIONS.find(({ weight }) => (at -= weight) < 0)
  assert(chosen, 'the weights add up')
  return chosen
}
