/**
 * What SQL asks about a database by its name or id, for those that only `database-scan.ts` shows:
 * how large it is, and whether one may use it. Postgres would look for them in its catalog, and
 * `\l+` of psql and every program that watches sizes would fail at the first one.
 */
import { textAt } from '../base/bytes.ts'
import type { DatabaseScans } from './database-scan.ts'
import { argumentAt, type BuiltinFunction, replaceBuiltin } from './builtin-functions.ts'
import type { Instance } from './instance.ts'
import type { MemorySearch } from './memory-search.ts'

interface AskedFunction {
  readonly builtin: BuiltinFunction
  /** Which argument is the database. */
  readonly argument: number
  readonly by: 'name' | 'text' | 'id'
  readonly answer: 'bytes' | 'allowed'
}

/** In the order in which they are lent. */
export const DATABASE_FUNCTIONS: readonly AskedFunction[] = [
  { builtin: [2168, 'pg_database_size_name'], argument: 0, by: 'name', answer: 'bytes' },
  { builtin: [2324, 'pg_database_size_oid'], argument: 0, by: 'id', answer: 'bytes' },
  ...(['name_name', 'name_id', 'id_name', 'id_id', 'name', 'id'] as const).map(
    (kinds, index): AskedFunction => ({
      builtin: [2250 + index, `has_database_privilege_${kinds}`],
      argument: kinds.includes('_') ? 1 : 0,
      by: kinds.endsWith('name') ? 'text' : 'id',
      answer: 'allowed',
    }),
  ),
]

/** @returns the functions that were called before, in order */
export function replaceDatabaseFunctions(
  memory: MemorySearch,
  entries: readonly number[],
): readonly number[] {
  return DATABASE_FUNCTIONS.map(({ builtin }, index) =>
    replaceBuiltin(memory, builtin, entries[index] ?? 0),
  )
}

/** Of one slot: answers for databases that the session sees, and asks Postgres about others. */
export function answerForDatabases(
  instance: Pick<Instance, 'module' | 'functionOf' | 'functionAt' | 'lent'>,
  originals: readonly number[],
  scans: Pick<DatabaseScans, 'sight'>,
): void {
  /** As C has it. */
  const text = (value: number): number => Number(instance.functionOf('text_to_cstring')(value))
  const bytesOf = ({ argument, by }: AskedFunction, callAt: number): number | undefined => {
    const { sight } = scans
    if (!sight) return undefined
    const heap = instance.module.HEAPU8
    const value = new DataView(heap.buffer).getUint32(argumentAt(callAt, argument), true)
    const name =
      by === 'id' ? sight.nameOf(value) : textAt(heap, by === 'name' ? value : text(value))
    return name === undefined ? undefined : sight.bytesOf(name)
  }
  instance.lent.onDatabaseFunction = (index, callAt) => {
    const asked = DATABASE_FUNCTIONS[index]
    const bytes = asked && bytesOf(asked, callAt)
    if (bytes === undefined) return Number(instance.functionAt(originals[index] ?? 0)(callAt))
    if (asked?.answer === 'allowed') return 1
    const at = Number(instance.functionOf('palloc')(8))
    new DataView(instance.module.HEAPU8.buffer).setBigInt64(at, BigInt(bytes), true)
    return at
  }
}
