/**
 * Where a client sees that it does not talk to a native server, by client and test, and why. Each
 * has its place in docs/limits.md. An entry that is no difference any more fails the run.
 */
export const DIFFERENCES: Readonly<Record<string, Readonly<Record<string, string>>>> = {}
