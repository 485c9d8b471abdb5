/**
 * Point-in-time recovery as the platform documents it, for a runtime that has none: what a storage
 * was is kept in the isolate, and an object that begins anew begins with what was asked for.
 */
interface KeptTable {
  readonly sql: string
  readonly name: string
  readonly rows: readonly SqlStorageValue[][]
}

const states = new Map<string, { readonly atMs: number; readonly tables: readonly KeptTable[] }>()
/** By object: which state its next life begins in. */
const asked = new Map<string, string>()

/** To be called first in each life of an object. */
export function keepStorage({ id, storage }: DurableObjectState): void {
  const object = id.toString()
  const bookmark = asked.get(object)
  asked.delete(object)
  if (bookmark !== undefined) restore(storage.sql, states.get(bookmark)?.tables ?? [])
  const keep = async (): Promise<string> => {
    const kept = `${hex(states.size + 1, 8)}-${hex(1, 8)}-${hex(1, 8)}-${hex(1, 32)}`
    states.set(kept, { atMs: Date.now(), tables: tablesOf(storage.sql) })
    return kept
  }
  Object.defineProperties(storage, {
    getCurrentBookmark: { value: keep },
    getBookmarkForTime: {
      value: async (atMs: number) =>
        [...states].findLast(([, state]) => state.atMs <= atMs)?.[0] ?? refuse('too early'),
    },
    onNextSessionRestoreBookmark: {
      value: async (wanted: string) => {
        if (!states.has(wanted)) return refuse('unknown bookmark')
        asked.set(object, wanted)
        return keep()
      },
    },
  })
}

function refuse(reason: string): never {
  throw new Error(reason)
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')

function tablesOf(sql: SqlStorage): KeptTable[] {
  const found = sql.exec(`SELECT name, sql FROM sqlite_schema WHERE type = 'table'
    AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'`)
  return found.toArray().map(({ name, sql: made }) => {
    return {
      name: String(name),
      sql: String(made),
      rows: [...sql.exec(`SELECT * FROM ${name}`).raw()],
    }
  })
}

function restore(sql: SqlStorage, tables: readonly KeptTable[]): void {
  for (const { name } of tablesOf(sql)) sql.exec(`DROP TABLE ${name}`)
  for (const { name, sql: made, rows } of tables) {
    sql.exec(made)
    for (const row of rows) {
      sql.exec(`INSERT INTO ${name} VALUES (${row.map(() => '?').join(', ')})`, ...row)
    }
  }
}
