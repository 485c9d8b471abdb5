/**
 * A file that has its name only when it is whole: whoever finds it there may rely on it. Until then
 * it lies beside under another name, which goes if it does not come to its end.
 */
import {
  closeSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import { PgnapError, errorText } from '../../../base/errors.ts'
import { syncFolder } from '../durable-file.ts'

/** A dump is as much its owner's business as the data folder is. */
const FILE_MODE = 0o600
const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']

export class OutputFile implements Disposable {
  readonly #path: string
  readonly #partial: string
  #descriptor: number | undefined
  readonly #interrupted = (signal: NodeJS.Signals): void => {
    this[Symbol.dispose]()
    process.kill(process.pid, signal)
  }

  /** @throws PgnapError CONFIG_INVALID if there can be no such file */
  constructor(path: string) {
    this.#path = placeOf(path)
    this.#partial = `${this.#path}.${process.pid}.partial`
    // Before the file is there: who sees it may send one at once.
    for (const signal of SIGNALS) process.once(signal, this.#interrupted)
    try {
      this.#descriptor = openSync(this.#partial, 'w', FILE_MODE)
    } catch (cause) {
      this.#close()
      throw new PgnapError('CONFIG_INVALID', `cannot write ${path}: ${errorText(cause)}`, {
        hint: 'name a file in a folder that exists and may be written to, with --output',
        cause,
      })
    }
  }

  /** @throws PgnapError DUMP_FAILED, as {@link keep} */
  write(bytes: Uint8Array): void {
    this.#attempt((descriptor) => {
      for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at)
    })
  }

  /** It is whole: it gets its name, in the place of what had it before. */
  keep(): void {
    this.#attempt((descriptor) => {
      fsyncSync(descriptor)
      renameSync(this.#partial, this.#path)
      syncFolder(dirname(this.#path))
    })
    this.#close()
  }

  /** What is not whole goes. */
  [Symbol.dispose](): void {
    if (this.#descriptor === undefined) return
    this.#close()
    rmSync(this.#partial, { force: true })
  }

  #attempt(write: (descriptor: number) => void): void {
    if (this.#descriptor === undefined) return
    try {
      write(this.#descriptor)
    } catch (cause) {
      throw new PgnapError('DUMP_FAILED', `cannot write ${this.#path}: ${errorText(cause)}`, {
        hint: 'nothing was left there; name another place with --output',
        cause,
      })
    }
  }

  #close(): void {
    for (const signal of SIGNALS) process.off(signal, this.#interrupted)
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
    this.#descriptor = undefined
  }
}

/** Where the file itself is: a link stays one. Devices and pipes cannot be replaced by a file. */
function placeOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found) return resolve(path)
  if (found.isFile()) return realpathSync(path)
  throw new PgnapError('CONFIG_INVALID', `${path} is no ordinary file`, {
    hint: 'leave --output out, and the dump goes to standard output',
  })
}
