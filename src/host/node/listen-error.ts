/** Why an address cannot be listened on, in words that say what to do. */
import { PgnapError } from '../../base/errors.ts'

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there',
  EACCES: 'this user may not listen there',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'no such host is known',
}

/** @param flag the setting that gives the port */
export function explainListenError(
  error: NodeJS.ErrnoException,
  { host, port, flag }: { readonly host: string; readonly port: number; readonly flag: string },
): PgnapError {
  const reason = REASONS[error.code ?? ''] ?? error.message
  return new PgnapError('CONFIG_INVALID', `cannot listen on ${host}:${port}: ${reason}`, {
    hint: `choose another with --host or --${flag}`,
    cause: error,
  })
}
