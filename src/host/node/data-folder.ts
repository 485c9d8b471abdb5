/**
 * The folder that a server keeps everything in, and the lock that lets only one server have it.
 *
 *     DIR/pgnap.lock         an SQLite file, held in an exclusive transaction while we live
 *     DIR/pgnap.owner.json   who holds it: for the message that the second server prints
 *     DIR/control.db         roles of tenants, where there are any
 *     DIR/tenants/NAME.db    one store per tenant
 *     DIR/tenants/copies/    copies of stores that are not whole yet
 *     DIR/journal/           commits of many tenants that share a sync (`journal/`)
 *     DIR/images/NAME.img    memory images of sleeping tenants: a cache, may be removed at any time
 *
 * Why SQLite for a lock: it is the one way in Node to take an operating system lock on a file. The
 * system releases it when the process ends, kill -9 included, so nothing is left to clean up and no
 * process id has to be trusted: ids are reused, above all in containers where a server is always 1.
 *
 * Must never open `pgnap.lock` by any other way than SQLite's: on POSIX, closing any descriptor of
 * a file drops all locks that the process holds on it. That is why the owner is written beside it.
 */
import { accessSync, constants, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Clock } from '../../base/clock.ts'
import { PgnapError, errorText } from '../../base/errors.ts'
import { makeFolderDurably } from './durable-file.ts'

/** A data folder that this process has for itself. Disposing it gives it up. */
export interface DataFolder extends Disposable {
  /** Absolute path of the folder. */
  readonly path: string
  /** Absolute path of the folder of stores, which exists. */
  readonly tenantsPath: string
  /** Whether it has not been given up. */
  readonly isHeld: boolean
  /** Lets others on this machine know where the owner answers HTTP; see {@link ownerAddress}. */
  announce(url: string, certificate?: string): void
}

export interface DataFolderOptions {
  /** The folder; relative paths are resolved against the working folder. */
  readonly path: string
  /** Whether a folder that is missing is an error. Default: it is made. */
  readonly mustExist?: boolean
  readonly clock: Clock
}

const LOCK_FILE = 'pgnap.lock'
const OWNER_FILE = 'pgnap.owner.json'
const TENANTS_FOLDER = 'tenants'
const IMAGES_FOLDER = 'images'
/** Databases are their owner's business, as in Postgres's own data folder. */
const FOLDER_MODE = 0o700

/** SQLite's primary result codes that a lock can meet. */
const SQLITE_BUSY = 5
const SQLITE_READONLY = 8
const SQLITE_FULL = 13
const SQLITE_NOT_A_DATABASE = 26

/** The folder of memory images in a data folder; made when the first one is written. */
export function imagesPath(dataPath: string): string {
  return join(dataPath, IMAGES_FOLDER)
}

/**
 * Makes the folder if needed, unless it must exist, and takes its lock.
 *
 * Errors: those of {@link requireDataFolder}; DATA_FOLDER_IN_USE when another server (or this
 * process) has it, naming its process id and start; CONFIG_INVALID when the path is not a folder,
 * or cannot be written, or its disk is read-only; STORE_FULL when the disk is; STORE_IO for what
 * else a disk may say.
 */
export function openDataFolder(options: DataFolderOptions): DataFolder {
  const path = resolve(options.path)
  const tenantsPath = join(path, TENANTS_FOLDER)
  if (options.mustExist) requireDataFolder(path)
  attempt(path, () => {
    makeFolderDurably(tenantsPath, FOLDER_MODE)
    const wanted = constants.R_OK | constants.W_OK | constants.X_OK
    accessSync(path, wanted)
    accessSync(tenantsPath, wanted)
  })
  const lock = attempt(path, () => takeLock(path))
  const owner = { pid: process.pid, startedAt: new Date(options.clock.nowMs()).toISOString() }
  try {
    attempt(path, () => writeOwner(path, owner))
  } catch (error) {
    lock.close()
    throw error
  }
  return {
    path,
    tenantsPath,
    announce: (url, certificate) =>
      attempt(path, () => writeOwner(path, { ...owner, url, certificate })),
    get isHeld() {
      return lock.isOpen
    },
    [Symbol.dispose]: () => {
      if (lock.isOpen) lock.close()
    },
  }
}

/**
 * Whoever only looks must not make what he looks for: a folder that appears under a mistyped name
 * says that its tenants do not exist. Throws CONFIG_INVALID if there is no data folder at `path`,
 * and what {@link explainFolderError} makes of what else is in the way. Changes nothing.
 */
export function requireDataFolder(path: string): void {
  attempt(path, () => {
    if (statSync(join(path, TENANTS_FOLDER), { throwIfNoEntry: false }) !== undefined) return
    throw new PgnapError('CONFIG_INVALID', `there is no data folder at ${resolve(path)}`, {
      hint: 'name the one that the server has been given with --data or PGNAP_DATA',
    })
  })
}

function takeLock(path: string): DatabaseSync {
  const lock = new DatabaseSync(join(path, LOCK_FILE), { timeout: 0 })
  try {
    lock.exec('begin exclusive')
    return lock
  } catch (error) {
    lock.close()
    throw sqliteCode(error) === SQLITE_BUSY ? inUse(path, error) : error
  }
}

/** Written under another name first, so that a reader never sees half of it. */
function writeOwner(path: string, owner: Owner): void {
  const temporary = join(path, `${OWNER_FILE}.new`)
  writeFileSync(temporary, `${JSON.stringify(owner)}\n`)
  renameSync(temporary, join(path, OWNER_FILE))
}

function inUse(path: string, cause: unknown): PgnapError {
  return new PgnapError(
    'DATA_FOLDER_IN_USE',
    `data folder ${path} is in use${describeOwner(path)}`,
    {
      cause,
      hint: 'stop that server first, or give this one a folder of its own with --data',
    },
  )
}

/** Where a server answers HTTP, and how it is known to be the one. */
export interface ServerAddress {
  readonly url: string
  /** What it shows under an https URL, in PEM; the owner alone can have written it here. */
  readonly certificate?: string | undefined
}

/** Where the server that holds a folder answers HTTP, if one does and has said so. */
export function ownerAddress(path: string): ServerAddress | undefined {
  const { url, certificate } = readOwner(path) ?? {}
  return url === undefined ? undefined : { url, certificate }
}

function describeOwner(path: string): string {
  const owner = readOwner(path)
  return owner ? ` by process ${owner.pid}, started ${owner.startedAt}` : ''
}

interface Owner extends Partial<ServerAddress> {
  readonly pid: number
  readonly startedAt: string
}

/** The owner as its file tells it; undefined if the holder has not come to writing it yet. */
function readOwner(path: string): Owner | undefined {
  let owner: unknown
  try {
    owner = JSON.parse(readFileSync(join(path, OWNER_FILE), 'utf8'))
  } catch {
    // A missing or unreadable note takes nothing from the fact that the folder is locked.
    return undefined
  }
  if (typeof owner !== 'object' || owner === null) return undefined
  if (!('pid' in owner) || !('startedAt' in owner)) return undefined
  const { url, certificate } = owner as Readonly<Record<string, unknown>>
  return {
    pid: Number(owner.pid),
    startedAt: String(owner.startedAt),
    ...(typeof url === 'string' ? { url } : {}),
    ...(typeof certificate === 'string' ? { certificate } : {}),
  }
}

function attempt<Result>(path: string, body: () => Result): Result {
  try {
    return body()
  } catch (error) {
    throw explainFolderError(path, error)
  }
}

/** What went wrong with the data folder at `path`, in words that say what to do about it. */
export function explainFolderError(path: string, error: unknown): PgnapError {
  if (error instanceof PgnapError) return error
  const explain = (
    code: 'CONFIG_INVALID' | 'STORE_FULL' | 'STORE_IO',
    problem: string,
    hint: string,
  ): PgnapError => new PgnapError(code, `data folder ${path} ${problem}`, { cause: error, hint })
  switch (sqliteCode(error) ?? systemCode(error) ?? '') {
    case 'EEXIST':
    case 'ENOTDIR':
      return explain('CONFIG_INVALID', 'is not a folder', 'name a folder with --data')
    case 'EACCES':
    case 'EPERM':
    case SQLITE_READONLY:
      return explain(
        'CONFIG_INVALID',
        'cannot be written by this user',
        `give it to the user that runs pgnap (chown -R), or name another with --data`,
      )
    case 'EROFS':
      return explain(
        'CONFIG_INVALID',
        'is on a read-only disk',
        'mount the disk writable, or name a folder elsewhere with --data',
      )
    case SQLITE_NOT_A_DATABASE:
      return explain(
        'CONFIG_INVALID',
        `holds a ${LOCK_FILE} that pgnap did not write`,
        `remove ${join(path, LOCK_FILE)} if it is not yours, or name another folder with --data`,
      )
    case 'ENOSPC':
    case 'EDQUOT':
    case SQLITE_FULL:
      return explain('STORE_FULL', 'has no space left', 'free space on its disk')
    default: {
      const reason = errorText(error)
      return explain('STORE_IO', `cannot be used: ${reason}`, 'check the disk and the path')
    }
  }
}

function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** SQLite's primary result code; extended codes keep it in their low byte. */
function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error)) return undefined
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined
}
