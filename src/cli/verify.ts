/**
 * `pgnap verify TENANT`: checks a store from its file up to Postgres's own amcheck. Exit code 1 if
 * anything is wrong, so that a backup script can rely on it.
 */
import type { Command } from 'commander'
import { PgnapError } from '../base/errors.ts'
import { addStoreVerb } from './store-verb.ts'
import type { Terminal } from './terminal.ts'

/** Adds the verb. */
export function addVerify(program: Command, terminal: Terminal): void {
  addStoreVerb(program, terminal, {
    name: 'verify',
    description: 'check the store of a tenant: file, pages, indexes, tables',
    note:
      'It reads the whole database and changes nothing, after what a crash may have left was ' +
      'brought home. No server may hold the data folder.',
    run: async (config, tenant) => {
      const { verifyTenant } = await import('../host/node/inspect.ts')
      return verifyTenant(config, tenant)
    },
    text: ({ problems, checked }, tenant) =>
      problems.length === 0
        ? `${tenant} is sound: ${checked.tables} tables, ${checked.btrees} indexes\n`
        : problems.map((problem) => `${problem}\n`).join(''),
    judge: ({ problems }, tenant) => {
      if (problems.length === 0) return
      const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
      throw new PgnapError('STORE_CORRUPT', `${tenant} is damaged: ${count}`, {
        hint: 'keep a copy of the data folder before anything else, then restore from a backup',
      })
    },
  })
}
