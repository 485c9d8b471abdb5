/**
 * Tells Postgres that the user of a session is also what RESET SESSION AUTHORIZATION goes back to.
 *
 * A server notes that when a client has logged in. In single-user mode, as which the module starts,
 * nobody logs in: whoever said SET SESSION AUTHORIZATION would stay that user after RESET, after
 * DISCARD ALL, and so would the next client of the tenant, until the backend ends.
 *
 * Source: Postgres 18, miscinit.c (InitializeSessionUserId and its sibling for standalone
 * backends), guc.h.
 */
import { utf8 } from '../base/bytes.ts'
import type { Instance } from './instance.ts'

const SETTING: Uint8Array = utf8('session_authorization\0')
/** Room on the stack, which is aligned to 16 bytes. */
const SETTING_ROOM = 32
/** The role that initdb made, whatever it is called now. */
const BOOTSTRAP_SUPERUSER_ID = 10
/** enum GucContext, and enum GucSource: the session's default, which no RESET undoes. */
const PGC_BACKEND = 4
const PGC_S_OVERRIDE = 10

/** Postgres has started in `instance` and waits for its first message. Throws what wasm throws. */
export function nameSessionUser(instance: Pick<Instance, 'module' | 'functionOf'>): void {
  const stackPointer = instance.module.___stack_pointer
  const stackTop: unknown = stackPointer.value
  const nameAt = Number(stackTop) - SETTING_ROOM
  stackPointer.value = nameAt
  instance.functionOf('StartTransactionCommand')()
  instance.module.HEAPU8.set(SETTING, nameAt)
  const userAt = Number(instance.functionOf('GetUserNameFromId')(BOOTSTRAP_SUPERUSER_ID, 0))
  instance.functionOf('SetConfigOption')(nameAt, userAt, PGC_BACKEND, PGC_S_OVERRIDE)
  instance.functionOf('CommitTransactionCommand')()
  stackPointer.value = stackTop
}
