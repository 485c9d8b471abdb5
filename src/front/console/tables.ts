/** Everything that SHOW can show, by name in lower case. */
import { OWN_TABLES } from './own-tables.ts'
import { PGBOUNCER_TABLES } from './pgbouncer-tables.ts'
import { type Table, column, table } from './table.ts'

const HELP: Table = table<readonly [string, Table]>(
  'this list; what can be done besides: PAUSE, RESUME, RECONNECT, KILL, RELOAD',
  async () => Object.entries(TABLES),
  [
    column('command', 'text', ([name]) => `SHOW ${name.toUpperCase()}`),
    column('shows', 'text', ([, { about }]) => about),
  ],
)

export const TABLES: Readonly<Record<string, Table>> = {
  ...PGBOUNCER_TABLES,
  ...OWN_TABLES,
  help: HELP,
}
