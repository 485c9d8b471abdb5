/**
 * Which tenant a client means. Four things may say it, because not every client can say all four:
 *
 *   database    `acme`, as in any Postgres
 *   user        `alice.acme`: role alice of tenant acme; the last dot parts the two
 *   server name `acme.db.example.com`: what a TLS client calls the server (SNI), or a host name in
 *               HTTP, if the server knows itself as `db.example.com`
 *   endpoint    `options=endpoint=acme` (or `project=`), as Neon's clients send it
 *
 * All that say something must say the same: a client that is let into another tenant than the one
 * it named would read and write the wrong data. Two databases are no word of the client's own, and
 * count only when nothing else is said: the user's name (libpq sends it when no database is given)
 * and `postgres` (what tools ask for, and what every tenant calls its own database).
 *
 * Pure and the same wherever it is asked: a thread that hands connections on, and the one that
 * serves them, come to one answer. It never decides whether the client may.
 */
import { PgnapError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'

/** What a client has said, as it typed it. */
export interface Selectors {
  readonly user: string
  /** Empty if there is none. */
  readonly database: string
  readonly endpoint?: string | undefined
  /** A host name, without port. */
  readonly serverName?: string | undefined
}

export interface Selection {
  /** The user without a tenant behind it. */
  readonly user: string
  /** `tenant` or `tenant@branch`, not checked yet. */
  readonly database: string
  /** False if nothing named a database, and it is the user's name, as in Postgres. */
  readonly isNamed: boolean
}

interface Named {
  readonly by: string
  readonly database: string
}

/** Told by tools that need some database, and by drivers of hosts with one database each. */
const EVERYBODYS_DATABASE = 'postgres'
const USER_OF_TENANT = /^(.+)\.([a-z0-9][a-z0-9_-]*)$/s

/**
 * @param domain what the server calls itself, in lower case; without it server names say nothing
 * @throws PgnapError TENANT_CONFLICT, naming both
 */
export function selectTenant(selectors: Selectors, domain?: string): Selection {
  const { database, endpoint } = selectors
  const { role, tenant } = splitUser(selectors.user)
  const isDefault =
    database === '' || database === selectors.user || database === EVERYBODYS_DATABASE
  const label = tenantLabel(selectors.serverName, domain)
  const named: Named[] = []
  if (!isDefault) named.push({ by: 'the database name', database })
  if (tenant !== undefined)
    named.push({ by: `the user "${shown(selectors.user)}"`, database: tenant })
  if (label !== undefined) named.push({ by: 'the server name', database: label })
  if (endpoint !== undefined) named.push({ by: 'options=endpoint', database: endpoint })
  const [first] = named
  if (!first) {
    return { user: role, database: database === '' ? role : database, isNamed: database !== '' }
  }
  const other = named.find((each) => tenantOf(each.database) !== tenantOf(first.database))
  if (other) throw conflict(first, other)
  return { user: role, database: first.database, isNamed: true }
}

/** `alice.acme` is alice of acme; a name without a tenant behind its last dot is whole. */
export function splitUser(user: string): { readonly role: string; readonly tenant?: string } {
  const [, role, tenant] = USER_OF_TENANT.exec(user) ?? []
  if (role === undefined || tenant === undefined) return { role: user }
  return { role, tenant }
}

/** The one label in front of `domain`; undefined for any other name. */
function tenantLabel(
  serverName: string | undefined,
  domain: string | undefined,
): string | undefined {
  if (serverName === undefined || domain === undefined) return undefined
  const name = serverName.toLowerCase().replace(/\.$/, '')
  if (!name.endsWith(`.${domain}`)) return undefined
  const label = name.slice(0, -domain.length - 1)
  return label === '' || label.includes('.') ? undefined : label
}

function tenantOf(database: string): string {
  const at = database.indexOf('@')
  return at < 0 ? database : database.slice(0, at)
}

function conflict(one: Named, other: Named): PgnapError {
  return new PgnapError(
    'TENANT_CONFLICT',
    `the connection names two databases: "${shown(one.database)}" and "${shown(other.database)}"`,
    {
      detail: `"${shown(one.database)}" is ${one.by}, "${shown(other.database)}" ${other.by}`,
      hint: 'name one database, in one way; a user name with a dot names one, too: user.database',
    },
  )
}

/** It may be anything, and goes into logs and on screens. */
function shown(text: string): string {
  return JSON.stringify(text.slice(0, LIMITS.tenantNameCharsMax)).slice(1, -1)
}
