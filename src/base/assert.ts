/**
 * Assertions, on in production. They state what must be true of our own code; what the outside
 * world does wrong (bad input, a full disk) is an error of `errors.ts`, never an assertion.
 */

/**
 * A broken invariant: a bug in pgnap. Whatever was being done must stop; its state is not to be
 * trusted.
 */
export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/** Throws {@link AssertionError} unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}

/** For the branch that the type checker has proven unreachable. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`)
}
