/**
 * Finds Postgres's `DoingCommandRead` when the engine is built: true until it has read the message
 * that it is to run. Whatever asks it to cancel meanwhile it takes for a request that has come too
 * late, and forgets; so whoever cancels from another thread must not ask before it is false.
 *
 * No module exports it. It is the one byte that is 1 while a simple query is read, 0 while that
 * query, a COPY, reads its data (`PqCommReadingMsg` is 1 both times), and 0 afterwards.
 *
 * Source: Postgres 18, postgres.c: PostgresMain, ProcessInterrupts.
 */
import { concatBytes, utf8 } from '../base/bytes.ts'
import { message } from '../base/protocol-message.ts'
import { bytesEqualTo, onlyPlace } from './memory-search.ts'

/** More than Postgres reads at once, so that a COPY has to go on reading. */
const COPY_LINES = 40
const COPY_LINE = utf8(`${'x'.repeat(1_000)}\n`)

export interface CommandReadProbe {
  /** Memory now; it may grow. */
  readonly heap: () => Uint8Array
  /** End of the static variables. */
  readonly staticEnd: number
  readonly run: (statement: string) => void
  readonly send: (messages: Uint8Array) => void
}

export function findCommandRead({ heap, staticEnd, run, send }: CommandReadProbe): number {
  run('create table probe_copy (line text)')
  const copy = concatBytes([
    message('Q', utf8('copy probe_copy from stdin\0')),
    ...Array.from({ length: COPY_LINES }, () => message('d', COPY_LINE)),
    message('c', new Uint8Array(0)),
  ])
  let found: number[] | undefined
  const keep = (value: number): void => {
    found = bytesEqualTo(value, heap().subarray(0, staticEnd), found)
  }
  const sendCopy = (): void => {
    let reads = 0
    send(watched(copy, () => keep(reads++ === 0 ? 1 : 0)))
    keep(0)
  }
  sendCopy()
  // Again in a transaction: what tells of an idle backend is not what is looked for.
  run('begin')
  sendCopy()
  run('rollback')
  run('drop table probe_copy')
  return onlyPlace('the sign that a command is read', found ?? [])
}

/** The same bytes, and `look` is called before a part of them is read. */
export function watched(bytes: Uint8Array, look: () => void): Uint8Array {
  return new Proxy(bytes, {
    get(target, key) {
      if (key === 'subarray') look()
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
