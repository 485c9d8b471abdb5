/**
 * What every medium must do. Call it with a way to open one, and to open it again if it keeps what
 * was written.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Medium } from '../../src/medium/medium.ts'

export interface MediumUnderTest {
  /** Opens a new, empty place. */
  open(): Medium | Promise<Medium>
  /** Opens again what the last `open` made; undefined for media that keep nothing. */
  readonly reopen?: () => Medium | Promise<Medium>
  /**
   * Kept when what transactions have written is durable. For media that say that they promise it
   * only then; default: it is when they return.
   */
  readonly settle?: (medium: Medium) => Promise<void>
  /** False: what is deleted is room for what comes, and never smaller. Default: true. */
  readonly givesBack?: boolean
}

export function mediumConformance(name: string, make: () => MediumUnderTest): void {
  const TABLE = 'CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB NOT NULL, more)'
  const withTable = async (): Promise<{ medium: Medium; place: MediumUnderTest }> => {
    const place = make()
    const medium = await place.open()
    medium.exec(TABLE)
    return { medium, place }
  }

  describe(`medium: ${name}`, () => {
    test('keeps every kind of value as it was', async () => {
      using medium = (await withTable()).medium
      const blob = Uint8Array.of(0, 1, 255)
      const values = [null, 0, -1, 2 ** 53 - 1, 1.5, '', 'text', 'ä€😀', blob, new Uint8Array(0)]
      for (const [id, value] of values.entries()) {
        medium.run('INSERT INTO t VALUES (?1, ?2, ?3)', id, new Uint8Array(0), value)
      }
      for (const [id, value] of values.entries()) {
        const row = medium.get('SELECT data, more FROM t WHERE id = ?1', id)
        assert.deepEqual(row?.[0], new Uint8Array(0))
        if (value instanceof Uint8Array)
          assert.deepEqual(new Uint8Array(row?.[1] as Uint8Array), value)
        else assert.equal(row?.[1], value)
      }
    })

    test('computes ids of 63 bits in SQL from numbers that are bound', async () => {
      using medium = (await withTable()).medium
      const layer = 2 ** 19 - 2
      const key = 2 ** 44 - 1
      medium.run('INSERT INTO t VALUES ((?1<<44|?2), ?3, NULL)', layer, key, Uint8Array.of(7))
      const row = medium.get(
        'SELECT (id & 17592186044415), data FROM t WHERE id = (?1<<44|?2)',
        layer,
        key,
      )
      assert.equal(row?.[0], key)
      assert.equal(medium.get('SELECT id >> 44 FROM t')?.[0], layer)
      assert.equal(medium.get('SELECT count(*) FROM t WHERE id < ((?1+1)<<44)', layer)?.[0], 1)
    })

    test('gives rows in order, undefined for none, and counts what it changed', async () => {
      using medium = (await withTable()).medium
      for (let id = 5; id > 0; id--) {
        assert.equal(medium.run('INSERT INTO t VALUES (?1, ?2, ?1)', id, Uint8Array.of(id)), 1)
      }
      assert.deepEqual(medium.all('SELECT id, more FROM t WHERE id > ?1 ORDER BY id', 3), [
        [4, 4],
        [5, 5],
      ])
      assert.deepEqual(medium.all('SELECT id FROM t WHERE id > 9'), [])
      assert.equal(medium.get('SELECT id FROM t WHERE id > 9'), undefined)
      assert.equal(medium.run('DELETE FROM t WHERE id > ?1', 2), 3)
    })

    test('a blob of a row belongs to the caller', async () => {
      using medium = (await withTable()).medium
      const source = Uint8Array.of(1, 2, 3)
      medium.run('INSERT INTO t VALUES (1, ?1, NULL)', source)
      source[0] = 9
      const read = (): Uint8Array =>
        medium.get('SELECT data FROM t WHERE id = 1')?.[0] as Uint8Array
      const first = read()
      assert.deepEqual([...first], [1, 2, 3])
      first[1] = 9
      assert.deepEqual([...read()], [1, 2, 3])
    })

    test('keeps a blob of 512 KiB', async () => {
      using medium = (await withTable()).medium
      const blob = new Uint8Array(512 * 1024).map((_, index) => index * 7)
      medium.run('INSERT INTO t VALUES (1, ?1, NULL)', blob)
      const read = medium.get('SELECT data FROM t')?.[0] as Uint8Array
      assert.equal(Buffer.compare(read, blob), 0)
    })

    test('a transaction returns what its body returns, and its changes are there', async () => {
      using medium = (await withTable()).medium
      const result = medium.transaction(() => {
        medium.run('INSERT INTO t VALUES (1, ?1, NULL)', Uint8Array.of(1))
        return 'done'
      })
      assert.equal(result, 'done')
      assert.equal(medium.get('SELECT count(*) FROM t')?.[0], 1)
    })

    test('a throw takes all of a transaction back, and the medium goes on', async () => {
      using medium = (await withTable()).medium
      const error = new Error('no')
      assert.throws(() => {
        medium.transaction(() => {
          medium.run('INSERT INTO t VALUES (1, ?1, NULL)', Uint8Array.of(1))
          medium.exec('CREATE TABLE u (x)')
          throw error
        })
      }, error)
      assert.equal(medium.get('SELECT count(*) FROM t')?.[0], 0)
      medium.transaction(() => medium.exec('CREATE TABLE u (x)'))
    })

    test('transactions do not nest', async () => {
      using medium = (await withTable()).medium
      assert.throws(() => medium.transaction(() => medium.transaction(() => 1)))
      assert.equal(
        medium.transaction(() => 1),
        1,
      )
    })

    test('a commit ahead is there at once, and durable when its sync is done', async () => {
      const { medium, place } = await withTable()
      const insert = (id: number) => (): void =>
        medium.transaction(() => void medium.run("INSERT INTO t VALUES (?1, x'00', NULL)", id))
      const syncs = [1, 2, 3].map((id) => medium.commitAhead(insert(id))?.())
      insert(4)()
      assert.equal(medium.get('SELECT count(*) FROM t')?.[0], 4)
      for (const sync of syncs) await sync
      await medium.commitAhead(insert(5))?.()
      medium[Symbol.dispose]()
      if (place.reopen === undefined) return
      using again = await place.reopen()
      assert.equal(again.get('SELECT count(*) FROM t')?.[0], 5)
    })

    test('a throw takes a commit ahead back, and the next one is as any other', async () => {
      using medium = (await withTable()).medium
      const error = new Error('no')
      const insert = (): number => medium.run(`INSERT INTO t VALUES (1, x'00', NULL)`)
      const fail = (): void => {
        insert()
        throw error
      }
      assert.throws(() => medium.commitAhead(() => medium.transaction(fail)), error)
      assert.equal(medium.get('SELECT count(*) FROM t')?.[0], 0)
      assert.equal(
        medium.commitAhead(() => {}),
        undefined,
        'nothing to wait for',
      )
      await medium.commitAhead(() => void medium.transaction(insert))?.()
      assert.equal(medium.get('SELECT count(*) FROM t')?.[0], 1)
    })

    test('a wrong statement is an error with a code, and harms nothing', async () => {
      using medium = (await withTable()).medium
      assert.throws(() => medium.run('INSERT INTO nowhere VALUES (1)'), { name: 'PgnapError' })
      medium.run('INSERT INTO t VALUES (1, ?1, NULL)', Uint8Array.of(1))
      assert.throws(() => medium.run('INSERT INTO t VALUES (1, ?1, NULL)', Uint8Array.of(2)), {
        name: 'PgnapError',
      })
      assert.deepEqual(medium.damage(), [])
    })

    test('gives room back in slices, and checkpoints at any time', async (context) => {
      const { medium: opened, place } = await withTable()
      using medium = opened
      if (place.givesBack === false) return context.skip('this medium keeps its size')
      medium.checkpoint()
      medium.transaction(() => {
        for (let id = 0; id < 300; id++) {
          medium.run('INSERT INTO t VALUES (?1, ?2, NULL)', id, new Uint8Array(8192).fill(1))
        }
      })
      medium.checkpoint()
      const full = medium.sizeBytes()
      assert.ok(full > 300 * 8192)
      assert.equal(medium.spareBytes(), 0)
      medium.run('DELETE FROM t')
      assert.ok(medium.spareBytes() > 200 * 8192)
      let given = 0
      let slices = 0
      for (let bytes = 1; bytes > 0; slices++) {
        bytes = medium.compact(512 * 1024)
        assert.ok(bytes <= 512 * 1024)
        given += bytes
      }
      assert.ok(medium.spareBytes() < 100 * 8192)
      assert.ok(slices > 3 && given > 200 * 8192, `${given} bytes in ${slices} slices`)
      medium.checkpoint()
      assert.deepEqual(medium.damage(), [])
    })

    test('what was written is there after closing and opening', async (context) => {
      const { medium, place } = await withTable()
      if (place.reopen === undefined) {
        medium[Symbol.dispose]()
        context.skip('this medium keeps nothing')
        return
      }
      medium.transaction(() => medium.run('INSERT INTO t VALUES (1, ?1, NULL)', Uint8Array.of(1)))
      await place.settle?.(medium)
      medium[Symbol.dispose]()
      using again = await place.reopen()
      assert.equal(again.get('SELECT count(*) FROM t')?.[0], 1)
    })
  })
}
