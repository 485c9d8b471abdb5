/**
 * Scripts whose compiled code is kept from one start to the next, with the functions in it.
 *
 * V8 compiles most functions when they are first called. Node's compile cache keeps what there is
 * when a module has just been loaded, which leaves them out, and parses the source again for each
 * of them: a tenth of the time to a server's first row. Here the code is kept a moment later, when
 * they have been called. Only of a script can that be done, not of an ES module.
 *
 * The code lies in the folder of Node's compile cache, and where that is off, so is this.
 */
import { hash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire, getCompileCacheDir } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { cachedDataVersionTag } from 'node:v8'
import { Script } from 'node:vm'

/**
 * By then a server has served its first client, on a machine that is not slow; and again for all
 * that is called only then, or where it took longer.
 */
const KEEP_AFTER_MS = [500, 5_000]
const DIGEST_BYTES = 32
/** Of the digest that tells texts of one name from each other. */
const NAME_DIGITS = 16

/** Runs a CommonJS module in this thread. Throws what it throws. */
export function requireKept(path: string): void {
  const text = readFileSync(path, 'utf8')
  const body = `(function (require, __filename, __dirname) {${text}\n})`
  const run = runKept(body, path) as (...parameters: unknown[]) => void
  run(createRequire(path), path, dirname(path))
}

/** Runs a script in this thread; what its last expression says. @param path names it in stacks */
export function runKept(text: string, path: string): unknown {
  const file = fileOf(text, path)
  const cachedData = file === undefined ? undefined : readCode(file)
  const script = new Script(text, { filename: path, ...(cachedData ? { cachedData } : {}) })
  const isMissing = !cachedData || script.cachedDataRejected === true
  if (file !== undefined && isMissing) keepLater(script, file)
  return script.runInThisContext()
}

/**
 * V8 itself compares only the length of the text. What else it depends on (Node, the processor) is
 * in the folder's name, or V8 looks at it.
 */
function fileOf(text: string, path: string): string | undefined {
  const folder = getCompileCacheDir()
  if (folder === undefined) return undefined
  return join(folder, `${basename(path)}-${hash('sha256', text).slice(0, NAME_DIGITS)}.code`)
}

/** Undefined if there is none, or a damaged one: V8 would run whatever it says. */
function readCode(file: string): Buffer | undefined {
  let bytes: Buffer
  try {
    bytes = readFileSync(file)
  } catch {
    // Whatever the reason, the text is there.
    return undefined
  }
  const code = bytes.subarray(DIGEST_BYTES)
  return digest(code).equals(bytes.subarray(0, DIGEST_BYTES)) ? code : undefined
}

/** Keeps the code under the flags of V8 that it was looked for with: under others it is no good. */
function keepLater(script: Script, file: string): void {
  const versionTag = cachedDataVersionTag()
  const keepNow = (): void => {
    const code = script.createCachedData()
    if (cachedDataVersionTag() === versionTag) keep(code, file)
  }
  for (const delayMs of KEEP_AFTER_MS) setTimeout(keepNow, delayMs).unref()
}

/** A cache that cannot be written costs the next start a few milliseconds, and nothing else. */
function keep(code: Uint8Array, file: string): void {
  const unfinished = `${file}.${process.pid}-${Math.trunc(performance.now())}`
  try {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(unfinished, Buffer.concat([digest(code), code]), { mode: 0o600 })
    renameSync(unfinished, file)
    removeOthers(file)
  } catch {
    rmSync(unfinished, { force: true })
  }
}

/** Code of other versions of the same file. */
function removeOthers(file: string): void {
  const folder = dirname(file)
  const own = basename(file)
  const kind = own.slice(0, own.lastIndexOf('-') + 1)
  for (const name of readdirSync(folder)) {
    if (name.startsWith(kind) && name.endsWith('.code') && name !== own) rmSync(join(folder, name))
  }
}

function digest(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer')
}
