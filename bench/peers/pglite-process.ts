/**
 * Stock PGlite in a process of its own that has already loaded the module: what is timed is opening
 * a database, not starting Node. Answers are hashed from the same protocol bytes as everybody's.
 */
import { performance } from 'node:perf_hooks'
import { PGlite, type PGliteOptions } from '@electric-sql/pglite'
import { assert } from '../../src/base/assert.ts'
import { AnswerScanner } from '../wire/answer-scanner.ts'
import { queryMessage } from '../wire/messages.ts'

export type PgliteCommand =
  /** Opens (or makes) a database in `folder`, asks `sql`, closes. */
  | { readonly kind: 'open'; readonly folder: string; readonly sql: string }
  /** Opens the database in `folder`, dumps it, then times loading the dump anew. */
  | { readonly kind: 'load'; readonly folder: string; readonly sql: string }
  /** Runs statements on the database in `folder` and closes it. */
  | { readonly kind: 'fill'; readonly folder: string; readonly statements: readonly string[] }
  /** Keeps this database open until the process ends. */
  | { readonly kind: 'keep'; readonly folder: string }

export interface PgliteAnswer {
  readonly elapsedMs: number
  readonly hash: number
}

async function timed(options: PGliteOptions, sql: string): Promise<PgliteAnswer> {
  const startMs = performance.now()
  const database = await PGlite.create(options)
  const scanner = new AnswerScanner({ keepRows: false })
  scanner.push(Buffer.from(await database.execProtocolRaw(queryMessage(sql))))
  const elapsedMs = performance.now() - startMs
  await database.close()
  const error = scanner.takeError()
  if (error !== undefined) throw error
  return { elapsedMs, hash: scanner.hash }
}

const kept: PGlite[] = []

async function run(command: PgliteCommand): Promise<PgliteAnswer> {
  const nothing = { elapsedMs: 0, hash: 0 }
  switch (command.kind) {
    case 'open':
      return await timed({ dataDir: command.folder }, command.sql)
    case 'load': {
      const source = await PGlite.create({ dataDir: command.folder })
      const loadDataDir = await source.dumpDataDir('none')
      await source.close()
      return await timed({ loadDataDir }, command.sql)
    }
    case 'fill': {
      const database = await PGlite.create({ dataDir: command.folder })
      for (const statement of command.statements) await database.exec(statement)
      await database.close()
      return nothing
    }
    case 'keep':
      kept.push(await PGlite.create({ dataDir: command.folder }))
      return nothing
  }
}

assert(process.send !== undefined, 'this file is forked with a channel')
process.on('message', (command: PgliteCommand) => {
  run(command).then(
    (answer) => process.send?.(answer),
    (error: unknown) => process.send?.({ error: String(error) }),
  )
})
process.on('disconnect', () => process.exit(0))
