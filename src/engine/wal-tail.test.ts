/** What is flushed when, against the little of Postgres that counts for it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ExportedFunction, WalTail } from './wal-tail.ts'

const MEMORY_BYTES = 4096
/** Variables that point somewhere, where they point, and the counter of records. */
const TRANSAM = { variableAt: 64, at: 512 }
const PROC = { variableAt: 72, at: 1024 }
const RECORDS_AT = 128
const RESULT_AT = 2048
const SEGMENT_BYTES = 2 ** 20

class Postgres {
  readonly module = { HEAPU8: new Uint8Array(MEMORY_BYTES) }
  insertedTo = 8192 + 100
  flushedTo: number = this.insertedTo
  readonly flushes: number[] = []
  readonly #functions: Readonly<Record<string, ExportedFunction>> = {
    OidFunctionCall1Coll: (oid) => {
      assert.equal(oid, 2852)
      this.#view.setBigUint64(RESULT_AT, BigInt(this.insertedTo), true)
      return RESULT_AT
    },
    GetFlushRecPtr: () => BigInt(this.flushedTo),
    XLogFlush: (to) => {
      this.flushes.push(Number(to))
      this.flushedTo = this.insertedTo
    },
  }

  constructor() {
    this.#view.setUint32(TRANSAM.variableAt, TRANSAM.at, true)
    this.#view.setUint32(PROC.variableAt, PROC.at, true)
    this.#view.setUint32(TRANSAM.at + 8, 700, true)
  }

  addressOf(variable: string): number {
    const addresses: Record<string, number> = {
      pgWalUsage: RECORDS_AT,
      TransamVariables: TRANSAM.variableAt,
      MyProc: PROC.variableAt,
    }
    return addresses[variable] ?? assert.fail(variable)
  }

  functionOf(name: string): ExportedFunction {
    return this.#functions[name] ?? assert.fail(name)
  }

  /** A transaction takes an id. */
  takeId(): void {
    const next = this.#view.getUint32(TRANSAM.at + 8, true)
    this.#view.setUint32(TRANSAM.at + 8, next + 1, true)
    this.#view.setUint32(PROC.at + 36, next, true)
  }

  /** Writes records of 40 bytes. */
  write(count: number): void {
    this.#view.setUint32(RECORDS_AT, this.#view.getUint32(RECORDS_AT, true) + count, true)
    this.insertedTo += count * 40
  }

  end(how: 'commit' | 'rollback'): void {
    this.write(1)
    this.#view.setUint32(PROC.at + 36, 0, true)
    if (how === 'commit') this.flushedTo = this.insertedTo
  }

  grow(): void {
    const larger = new Uint8Array(2 * MEMORY_BYTES)
    larger.set(this.module.HEAPU8)
    this.module.HEAPU8 = larger
  }

  get #view(): DataView {
    return new DataView(this.module.HEAPU8.buffer)
  }
}

function started(): { postgres: Postgres; tail: WalTail } {
  const postgres = new Postgres()
  const tail = new WalTail(postgres)
  tail.begin()
  return { postgres, tail }
}

test('what was committed is flushed already', () => {
  const { postgres, tail } = started()
  tail.flush()
  postgres.takeId()
  postgres.write(3)
  postgres.end('commit')
  tail.flush()
  assert.deepEqual(postgres.flushes, [])
})

test('what was rolled back is flushed, once', () => {
  const { postgres, tail } = started()
  postgres.takeId()
  postgres.write(3)
  postgres.end('rollback')
  tail.flush()
  tail.flush()
  assert.deepEqual(postgres.flushes, [postgres.insertedTo])
})

test('what was written behind a commit is flushed', () => {
  const { postgres, tail } = started()
  postgres.takeId()
  postgres.write(1)
  postgres.end('commit')
  postgres.takeId()
  postgres.write(1)
  postgres.end('rollback')
  tail.flush()
  assert.deepEqual(postgres.flushes, [postgres.insertedTo])
})

test('an open transaction waits for its end, however many batches it has', () => {
  const { postgres, tail } = started()
  postgres.takeId()
  for (let batch = 0; batch < 3; batch++) {
    postgres.write(2)
    tail.flush()
  }
  assert.deepEqual(postgres.flushes, [])
  postgres.end('rollback')
  tail.flush()
  assert.deepEqual(postgres.flushes, [postgres.insertedTo])
})

test('an open transaction does not hide one that has ended before it', () => {
  const { postgres, tail } = started()
  postgres.takeId()
  postgres.write(1)
  postgres.end('rollback')
  postgres.takeId()
  postgres.write(1)
  tail.flush()
  assert.equal(postgres.flushes.length, 1)
  postgres.write(1)
  tail.flush()
  assert.equal(postgres.flushes.length, 1)
  postgres.end('rollback')
  tail.flush()
  assert.equal(postgres.flushes.length, 2)
})

test('records that no transaction stands behind stay where they are', () => {
  const { postgres, tail } = started()
  postgres.write(5)
  tail.flush()
  assert.deepEqual(postgres.flushes, [])
})

test('a transaction that wrote nothing but its end stays where it is', () => {
  const { postgres, tail } = started()
  for (const how of ['commit', 'rollback'] as const) {
    postgres.takeId()
    tail.flush()
    postgres.flushedTo = postgres.insertedTo - 40
    postgres.end(how)
    tail.flush()
  }
  assert.deepEqual(postgres.flushes, [])
})

test('a run that goes on with a transaction open may have written anything', () => {
  const { postgres, tail } = started()
  postgres.takeId()
  postgres.write(1)
  tail.flush()
  // It naps, and wakes in another slot.
  const other = new WalTail(postgres)
  other.begin()
  other.flush()
  assert.deepEqual(postgres.flushes, [])
  postgres.end('rollback')
  other.flush()
  assert.deepEqual(postgres.flushes, [postgres.insertedTo])
})

test('at the end of a page nothing is asked for that is not written yet', () => {
  for (const [endAt, headerBytes] of [
    [3 * 8192, 24],
    [2 * SEGMENT_BYTES, 40],
  ] as const) {
    const { postgres, tail } = started()
    postgres.takeId()
    postgres.write(1)
    postgres.end('rollback')
    postgres.insertedTo = endAt + headerBytes
    tail.flush()
    assert.deepEqual(postgres.flushes, [endAt])
  }
})

test('memory that has grown is read where it is now', () => {
  const { postgres, tail } = started()
  postgres.grow()
  postgres.takeId()
  postgres.write(1)
  postgres.end('rollback')
  tail.flush()
  assert.equal(postgres.flushes.length, 1)
})
