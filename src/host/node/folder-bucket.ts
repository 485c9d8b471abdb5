/**
 * A folder as a bucket. Each content of an object is a file of its own, `KEY.N` with a number that
 * goes up; the highest one counts, and its number is the tag. So of two writers who have read the
 * same one only one can make the next (a link to a name that is there fails), without any lock that
 * somebody could die with:
 *
 *   write beside, sync -> link as KEY.N+1 -> sync the folder -> remove what is older
 *
 * A writer who is late may find the number free because newer ones have come and the older were
 * removed: it looks again afterwards, and takes its own back. It cannot tell that from its own
 * having counted until the next writer, who is quick, replaced it: so it says that it does not
 * know, and never that nothing was written.
 */
import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { PgnapError } from '../../base/errors.ts'
import type { Bucket, StoredObject } from '../../medium/bucket.ts'

/** Who reads may be overtaken by a writer who removes what it reads; not so often in a row. */
const READS_MAX = 20
/** What a writer has left beside for so long, nobody is writing any more: its process has ended. */
const PARTIAL_MS = 3_600_000

export class FolderBucket implements Bucket {
  readonly #folder: string

  /** @param folder made when something is put into it */
  constructor(folder: string) {
    this.#folder = resolve(folder)
  }

  async tagOf(key: string): Promise<string | undefined> {
    const newest = (await numbersOf(this.#pathOf(key))).at(-1)
    return newest === undefined ? undefined : String(newest)
  }

  async get(key: string): Promise<StoredObject | undefined> {
    const path = this.#pathOf(key)
    for (let count = 0; count < READS_MAX; count++) {
      const newest = (await numbersOf(path)).at(-1)
      if (newest === undefined) return undefined
      try {
        const bytes = new Uint8Array(await readFile(`${path}.${newest}`))
        return { bytes, tag: String(newest) }
      } catch (error) {
        if (!isCode(error, 'ENOENT')) throw failure(error)
      }
    }
    throw failure(new Error('it is written faster than it can be read'))
  }

  async put(key: string, bytes: Uint8Array, tag: string | undefined): Promise<string> {
    const path = this.#pathOf(key)
    const partial = `${path}.${randomUUID()}.partial`
    const number = Number(tag ?? 0) + 1
    try {
      await makeFolder(dirname(path))
      if ((await numbersOf(path)).at(-1) !== (tag === undefined ? undefined : Number(tag))) {
        throw fenced(key)
      }
      await writeSynced(partial, bytes)
      await link(partial, `${path}.${number}`)
      await syncFolder(dirname(path))
      const numbers = await numbersOf(path)
      if (numbers.at(-1) !== number) {
        await rm(`${path}.${number}`, { force: true })
        throw overtaken(key)
      }
      for (const older of numbers.slice(0, -1)) await rm(`${path}.${older}`, { force: true })
      await removeAbandoned(path)
      return String(number)
    } catch (error) {
      if (error instanceof PgnapError) throw error
      throw isCode(error, 'EEXIST') ? fenced(key) : failure(error)
    } finally {
      await rm(partial, { force: true })
    }
  }

  /** Keys are names from outside: none leads out of the folder. */
  #pathOf(key: string): string {
    const path = join(this.#folder, key)
    const inside = relative(this.#folder, path)
    if (inside === '' || inside.startsWith('..') || key.endsWith('/')) {
      throw new PgnapError('REQUEST_INVALID', `"${key}" is no name of an object`, {
        hint: 'use letters, digits, "-", "_", "." and "/"',
      })
    }
    return path
  }
}

/** Of an object's contents, the oldest first. */
async function numbersOf(path: string): Promise<number[]> {
  const prefix = `${basename(path)}.`
  try {
    const names = await readdir(dirname(path))
    return names
      .filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
      .map((name) => Number(name.slice(prefix.length)))
      .toSorted((a, b) => a - b)
  } catch (error) {
    if (isCode(error, 'ENOENT')) return []
    throw failure(error)
  }
}

/** What writers of this object have begun before their process ended. */
async function removeAbandoned(path: string): Promise<void> {
  const folder = dirname(path)
  for (const name of await readdir(folder)) {
    if (!name.startsWith(`${basename(path)}.`) || !name.endsWith('.partial')) continue
    const found = await stat(join(folder, name)).catch(() => undefined)
    if (!found || Date.now() - found.mtimeMs < PARTIAL_MS) continue
    await rm(join(folder, name), { force: true })
  }
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx')
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** With those above it. A new one is there after the machine's end if the one above is synced. */
async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true })
  if (first === undefined) return
  for (let made = path; made.length >= first.length; made = dirname(made)) {
    await syncFolder(dirname(made))
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

function fenced(key: string): PgnapError {
  return new PgnapError('STORE_FENCED', `"${key}" has been written by somebody else`, {
    hint: 'load it again and repeat what was done',
  })
}

function overtaken(key: string): PgnapError {
  return new PgnapError('OUTCOME_UNKNOWN', `"${key}" was written by somebody else meanwhile`, {
    detail: 'on top of what was put, or beside it',
    hint: 'load it again and look whether what was done is in it',
  })
}

function failure(error: unknown): PgnapError {
  return new PgnapError('STORE_IO', 'the bucket cannot be read or written', {
    cause: error,
    detail: String(error),
    hint: 'check the folder and the disk under it',
  })
}
