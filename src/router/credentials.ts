/**
 * Users and their passwords, from an `auth_file` as PgBouncer reads it (userlist.txt): one user per
 * line, `"user" "password"`, a quote inside quotes doubled, the rest of a line ignored, `;` and `#`
 * begin comments. The second field is a SCRAM-SHA-256 verifier or a plain password. MD5 hashes are
 * refused by name: pgnap speaks SCRAM only, and a user who silently cannot log in is worse than a
 * server that says so when it starts. So are names such as `jane.doe`, which mean jane of tenant
 * doe.
 *
 * Plain passwords are turned into verifiers at once and not kept. Error messages name lines, never
 * what is in them.
 */
import { PgnapError } from '../base/errors.ts'
import { type Verifier, parseVerifier } from './scram-verifier.ts'
import { splitUser } from './tenant-selection.ts'

/** Makes a verifier of a user's plain password. */
export type MakeVerifier = (password: string, user: string) => Promise<Verifier>

interface UserLine {
  readonly user: string
  readonly secret: string
  readonly lineNumber: number
}

const MD5 = /^md5[0-9a-f]{32}$/
const LINE = /^"((?:[^"]|"")+)"\s+"((?:[^"]|"")*)"/

/** Users and their verifiers, as they are posted to another thread. */
export type UserList = readonly (readonly [user: string, verifier: Verifier])[]

/** The users that may log in. */
export class Credentials {
  #verifiers: ReadonlyMap<string, Verifier>

  private constructor(verifiers: ReadonlyMap<string, Verifier>) {
    this.#verifiers = verifiers
  }

  get userCount(): number {
    return this.#verifiers.size
  }

  /**
   * Reads an auth_file. Of two lines for one user the first one counts, as in PgBouncer.
   * @throws PgnapError CONFIG_INVALID naming the line
   */
  static async parse(text: string, makeVerifier: MakeVerifier): Promise<Credentials> {
    const verifiers = new Map<string, Verifier>()
    for (const { user, secret, lineNumber } of userLines(text)) {
      if (verifiers.has(user)) continue
      if (splitUser(user).tenant !== undefined) {
        throw invalid(lineNumber, 'what follows the last dot of a user name is taken for a tenant')
      }
      if (MD5.test(secret)) throw invalid(lineNumber, 'md5 passwords are not supported')
      if (secret === '') throw invalid(lineNumber, 'the password is empty')
      const verifier = parseVerifier(secret)
      if (!verifier && secret.startsWith('SCRAM-SHA-256$')) {
        throw invalid(lineNumber, 'the SCRAM verifier is damaged')
      }
      verifiers.set(user, verifier ?? (await makeVerifier(secret, user)))
    }
    return new Credentials(verifiers)
  }

  list(): UserList {
    return [...this.#verifiers]
  }

  /** From now on these are the users, for whoever holds this. */
  adopt(users: UserList): void {
    this.#verifiers = new Map(users)
  }

  verifierOf(user: string): Verifier | undefined {
    return this.#verifiers.get(user)
  }
}

function userLines(text: string): UserLine[] {
  return text.split('\n').flatMap((raw, index): UserLine[] => {
    const line = raw.trim()
    if (line === '' || line.startsWith(';') || line.startsWith('#')) return []
    const [, user, secret] = LINE.exec(line) ?? []
    if (user === undefined || secret === undefined) {
      throw invalid(index + 1, 'it must begin with "user" "password", both in double quotes')
    }
    return [{ user: unquote(user), secret: unquote(secret), lineNumber: index + 1 }]
  })
}

function unquote(text: string): string {
  return text.replaceAll('""', '"')
}

function invalid(lineNumber: number, reason: string): PgnapError {
  return new PgnapError('CONFIG_INVALID', `auth_file, line ${lineNumber}: ${reason}`, {
    hint: 'write "user" "password" or "user" "SCRAM-SHA-256$..." as in pg_authid.rolpassword',
  })
}
