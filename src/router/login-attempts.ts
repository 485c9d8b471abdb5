/**
 * What keeps people from guessing passwords: who has been wrong too often has to wait, by where he
 * comes from and by whom he says he is. Interfaces only; a host counts for all of its threads.
 */

/** Somebody who is about to say a password. */
export interface LoginAttempt {
  /** Where from; empty if nobody knows. */
  readonly address: string
  readonly user: string
  readonly database: string
}

export interface LoginLimiter {
  /**
   * Called before a password is looked at, and again before its owner is told that it was right:
   * whoever asks a thousand times at once has failed a thousand times by then.
   * @throws PgnapError LOGIN_LIMITED
   */
  check(attempt: LoginAttempt): void
  /** It was wrong, or there is no such user: the same. */
  failed(attempt: LoginAttempt): void
}
