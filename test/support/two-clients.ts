/** Two clients of one tenant with a small table, for tests of what they do to each other. */
import { connectPg, type PgConnection } from './clients.ts'
import type { ServerProcess } from './server.ts'

/** Rows of the table `t`, which begins with one. */
export const COUNT = 'select count(*)::int from t'

export interface TwoClients extends AsyncDisposable {
  readonly first: PgConnection
  readonly second: PgConnection
}

/**
 * Both are ended when it is disposed.
 * @param setup SQL behind the making of the table. @param begin what the first one does before the
 *   second one comes
 */
export async function twoClients(
  server: ServerProcess,
  tenant: string,
  { setup = '', begin }: { readonly setup?: string; readonly begin?: string } = {},
): Promise<TwoClients> {
  const first = await connectPg(server, tenant)
  await first.client.query(`create table t (n int); insert into t values (1); ${setup}`)
  if (begin !== undefined) await first.client.query(begin)
  const second = await connectPg(server, tenant)
  return {
    first,
    second,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([first.client.end(), second.client.end()])
    },
  }
}
