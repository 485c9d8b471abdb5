/**
 * Where a client sees that it does not talk to a native server, by client and test, and why. Each
 * has its place in docs/limits.md. An entry that is no difference any more fails the run.
 */
export const DIFFERENCES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'catalog queries of GUI tools': {
    databases: 'the ctype is C.UTF-8; the oracle was made without locale',
  },
}
