/**
 * What a server must know of its tenants beside their data: the roles that may use them. One SQLite
 * file in the data folder, and nothing of it in the tenants' stores, whose superusers could read
 * and change it there.
 *
 *     DIR/control.db    secrets  name -> bytes     made once
 *                       roles    (tenant, role) -> verifier
 *
 * The main thread writes; the shards' threads read, each by a connection of its own, and see what
 * was committed when they look. A change is durable when the call returns (synchronous=FULL, WAL).
 *
 * It must never hold a password: a verifier proves one without containing it.
 */
import { chmodSync, closeSync, existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { PgnapError, errorText } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import type { Random } from '../../base/random.ts'
import { parseVerifier, type Verifier, verifierText } from '../../router/scram-verifier.ts'
import type { RoleBook } from '../../router/users.ts'
import { explainFolderError } from './data-folder.ts'

const FILE = 'control.db'
const FILE_MODE = 0o600
const FORMAT_VERSION = 1
const SALT_SECRET = 'salt'
const SECRET_BYTES = 32
/** Writers are one thread, and what they do takes as long as a sync of the disk. */
const BUSY_MS = 5_000

const SCHEMA = `
  create table secrets(name text primary key, bytes blob not null) strict;
  create table roles(
    tenant text not null,
    role text not null,
    verifier text not null,
    created_ms integer not null,
    primary key (tenant, role)
  ) strict, without rowid;
  pragma user_version = ${FORMAT_VERSION};
`

export interface StoredRole {
  readonly role: string
  readonly createdMs: number
}

export class ControlDatabase implements RoleBook, Disposable {
  readonly #database: DatabaseSync
  readonly #find: StatementSync
  /** Salts are made of it and a user's name, see `saltOf`. The same for the life of the folder. */
  readonly saltSecret: Uint8Array<ArrayBuffer>

  private constructor(database: DatabaseSync) {
    this.#database = database
    this.#find = database.prepare('select verifier from roles where tenant = ? and role = ?')
    const row = database.prepare('select bytes from secrets where name = ?').get(SALT_SECRET)
    this.saltSecret = new Uint8Array(row?.['bytes'] as Uint8Array)
  }

  /**
   * Opens it, and makes it where it is missing. For the thread that starts a server, before others.
   * @throws PgnapError STORE_IO, STORE_FULL, STORE_FORMAT_UNKNOWN, CONFIG_INVALID
   */
  static create(dataPath: string, random: Random): ControlDatabase {
    const path = join(dataPath, FILE)
    return attempt(() => {
      // Its companions get the mode that it has.
      closeSync(openSync(path, 'a', FILE_MODE))
      chmodSync(path, FILE_MODE)
      const database = open(path)
      try {
        if (versionOf(database) === 0) {
          database.exec(`begin immediate; ${SCHEMA}`)
          const insert = database.prepare('insert into secrets values (?, ?)')
          insert.run(SALT_SECRET, random.bytes(SECRET_BYTES))
          database.exec('commit')
        }
        return ControlDatabase.#ofOpen(database)
      } catch (error) {
        database.close()
        throw error
      }
    })
  }

  /** Undefined where nobody has made one: then there are no roles. Throws as {@link create}. */
  static openExisting(dataPath: string): ControlDatabase | undefined {
    const path = join(dataPath, FILE)
    if (!existsSync(path)) return undefined
    return attempt(() => {
      const database = open(path)
      // A start that was cut off has left an empty file.
      if (versionOf(database) > 0) return ControlDatabase.#ofOpen(database)
      database.close()
      return undefined
    })
  }

  static #ofOpen(database: DatabaseSync): ControlDatabase {
    const version = versionOf(database)
    if (version === FORMAT_VERSION) return new ControlDatabase(database)
    throw new PgnapError('STORE_FORMAT_UNKNOWN', `${FILE} has format ${version}`, {
      hint: 'open the data folder with the pgnap that wrote it, or a newer one',
    })
  }

  verifierOf(tenant: TenantName, role: string): Verifier | undefined {
    return attempt(() => {
      const row = this.#find.get(tenant, role)
      return row && parseVerifier(String(row['verifier']))
    })
  }

  rolesOf(tenant: TenantName): StoredRole[] {
    return attempt(() => {
      const rows = this.#database
        .prepare('select role, created_ms from roles where tenant = ? order by role')
        .all(tenant)
      return rows.map((row) => ({
        role: String(row['role']),
        createdMs: Number(row['created_ms']),
      }))
    })
  }

  /** Makes a role, or gives it another verifier. */
  put(tenant: TenantName, { role, createdMs }: StoredRole, verifier: Verifier): void {
    attempt(() =>
      this.#database
        .prepare(
          `insert into roles values (?, ?, ?, ?)
            on conflict do update set verifier = excluded.verifier`,
        )
        .run(tenant, role, verifierText(verifier), createdMs),
    )
  }

  /** False if there was no such role. */
  delete(tenant: TenantName, role: string): boolean {
    return attempt(() => {
      const sql = 'delete from roles where tenant = ? and role = ?'
      return Number(this.#database.prepare(sql).run(tenant, role).changes) > 0
    })
  }

  /** No role of this tenant is left. Writes nothing if there was none. */
  forget(tenant: TenantName): void {
    if (this.rolesOf(tenant).length === 0) return
    attempt(() => this.#database.prepare('delete from roles where tenant = ?').run(tenant))
  }

  [Symbol.dispose](): void {
    if (this.#database.isOpen) this.#database.close()
  }
}

function open(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: BUSY_MS })
  database.exec('pragma journal_mode = wal; pragma synchronous = full;')
  return database
}

function versionOf(database: DatabaseSync): number {
  return Number(database.prepare('pragma user_version').get()?.['user_version'])
}

/** Whoever logs in may be told of a failure, and is not to learn where the folder lies. */
function attempt<Result>(body: () => Result): Result {
  try {
    return body()
  } catch (error) {
    if (error instanceof PgnapError) throw error
    const { code } = explainFolderError(FILE, error)
    const reason = errorText(error)
    throw new PgnapError(code, `${FILE} cannot be used: ${reason}`, {
      cause: error,
      hint: 'check the disk and the data folder',
    })
  }
}
