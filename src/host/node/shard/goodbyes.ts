/** What clients of a shard are told when they are sent away, or somebody is refused for them. */
import { PgnapError } from '../../../base/errors.ts'
import type { TenantName } from '../../../base/ids.ts'

/** Postgres's words for it, whoever the administrator is. */
const TERMINATED = 'terminating connection due to administrator command'

export function terminated(): PgnapError {
  return new PgnapError('SESSION_TERMINATED', TERMINATED, {
    hint: 'connect again; what is sent then waits until the database has been resumed',
  })
}

export function shuttingDown(): PgnapError {
  return new PgnapError('SHUTTING_DOWN', TERMINATED, {
    hint: 'connect again when the server is back',
  })
}

/** By an operator, or by DROP DATABASE, without and with FORCE. */
export type DeletionWay = 'operator' | 'unless used' | 'force'

/** Whom a statement sends away is told so in Postgres's words: programs know these. */
export function deleted(tenant: TenantName, way: DeletionWay): PgnapError {
  const text = `database "${tenant}" has been deleted`
  const hint = 'where connecting makes tenants, connecting again makes a new, empty one'
  return way === 'operator'
    ? new PgnapError('TENANT_UNKNOWN', text, { hint })
    : new PgnapError('SESSION_TERMINATED', TERMINATED, { detail: text, hint })
}

export function revoked(role: string): PgnapError {
  return new PgnapError('ROLE_REVOKED', `role "${role}" has been revoked`, {
    hint: 'ask the operator of the server for a new connection string',
  })
}

export function tooManyLogins(): PgnapError {
  return new PgnapError('CONNECTIONS_EXHAUSTED', 'sorry, too many clients are logging in', {
    hint: 'connect again; a login that takes longer than others gives way to them',
  })
}

/** In the words of Postgres, as the next one. */
export function stillUsed(name: TenantName, clients: number): PgnapError {
  return new PgnapError('TENANT_BUSY', `database "${name}" is being accessed by other users`, {
    detail: sessionsOf(clients),
    hint: 'close them, or say WITH (FORCE)',
  })
}

export function stillUsedTemplate(name: TenantName, clients: number): PgnapError {
  const message = `source database "${name}" is being accessed by other users`
  return new PgnapError('TENANT_BUSY', message, {
    detail: sessionsOf(clients),
    hint: `close them; "pgnap tenant create NAME --template ${name}" does not mind them`,
  })
}

function sessionsOf(clients: number): string {
  const sessions = clients === 1 ? 'is 1 other session' : `are ${clients} other sessions`
  return `There ${sessions} using the database.`
}
