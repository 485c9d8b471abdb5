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
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createRequire, getCompileCacheDir } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cachedDataVersionTag } from 'node:v8'
import { Script } from 'node:vm'

/**
 * When code is kept that was not: a server has served its first client by then, on a machine that
 * is not slow; and again for what was called only later.
 */
const KEEP_AFTER_MS = [500, 5_000, 60_000]
/** When it is looked whether more was called than in the starts before. It takes 15 ms. */
const REVIEW_AFTER_MS = [5_000]
/** Code is kept anew if there is so much more of it. */
const GROWTH_MIN = 1.1
/** What no start has used for so long belongs to a version that is gone. */
const UNUSED_MS_MAX = 30 * 24 * 60 * 60_000
const DIGEST_BYTES = 32
/** Of the digest that tells texts of one name from each other. */
const NAME_DIGITS = 16

/**
 * Runs a program that lies beside a module. In the package it is one script, because of a script
 * more can be kept; in a checkout it is a module.
 */
export async function runBeside(moduleUrl: string, name: string): Promise<void> {
  const isSource = moduleUrl.endsWith('.ts')
  const program = new URL(`${name}.${isSource ? 'ts' : 'cjs'}`, moduleUrl)
  if (isSource) await import(program.href)
  else requireKept(fileURLToPath(program))
}

/** Runs a CommonJS module in this thread. Throws what it throws. */
export function requireKept(path: string): void {
  const text = readFileSync(path, 'utf8')
  const body = `(function (require, __filename, __dirname) {'use strict';${text}\n})`
  const run = runKept(body, path) as (...parameters: unknown[]) => void
  run(createRequire(path), path, dirname(path))
}

/** Runs a script in this thread; what its last expression says. @param path names it in stacks */
export function runKept(text: string, path: string): unknown {
  const file = fileOf(text, path)
  const cachedData = file === undefined ? undefined : readCode(file)
  const script = new Script(text, { filename: path, ...(cachedData ? { cachedData } : {}) })
  const isKept = cachedData && script.cachedDataRejected !== true
  if (file !== undefined) keepLater(script, file, isKept ? cachedData.length : 0)
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
function keepLater(script: Script, file: string, bytesBefore: number): void {
  const versionTag = cachedDataVersionTag()
  let bytesKept = bytesBefore
  const keepNow = (): void => {
    const code = script.createCachedData()
    if (cachedDataVersionTag() !== versionTag) return
    const isWorthIt = code.length > bytesKept * GROWTH_MIN
    try {
      if (isWorthIt) write(code, file)
      else utimesSync(file, new Date(), new Date())
    } catch {
      // It costs the next start a few milliseconds, and nothing else.
      return
    }
    if (isWorthIt) bytesKept = code.length
  }
  const delaysMs = bytesBefore > 0 ? REVIEW_AFTER_MS : KEEP_AFTER_MS
  for (const delayMs of delaysMs) setTimeout(keepNow, delayMs).unref()
}

/** As a whole, or not at all; what is left unfinished goes with what is not used. */
function write(code: Uint8Array, file: string): void {
  const unfinished = `${file}.${process.pid}-${Math.trunc(performance.now())}`
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(unfinished, Buffer.concat([digest(code), code]), { mode: 0o600 })
  renameSync(unfinished, file)
  removeUnused(dirname(file))
}

/** Code of other versions, and what was never finished. */
function removeUnused(folder: string): void {
  const sinceMs = Date.now() - UNUSED_MS_MAX
  for (const name of readdirSync(folder)) {
    if (!name.includes('.code')) continue
    const path = join(folder, name)
    if (statSync(path).mtimeMs < sinceMs) rmSync(path)
  }
}

function digest(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer')
}
