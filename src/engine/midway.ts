/**
 * A copy of a backend that is in the middle of a statement (`pausing.ts`), and how that statement
 * ends in it.
 *
 * Its memory is whole where Postgres looks for interrupts: no lock of memory is held, no page half
 * written. What is missing is the stack of the machine, on which the statement would go on. So in
 * the copy it ends as by a cancel request there: subtransactions and transaction are rolled back,
 * and an error is raised that reaches the main loop at once, as if every frame had let it through.
 */
import { assert } from '../base/assert.ts'
import type { Driver } from './driver.ts'
import { entriesOf } from './hash-table.ts'
import type { Instance } from './instance.ts'
import { requestCancel } from './interrupts.ts'

const PORTAL_NAME_BYTES = 64
/** In PortalData. */
const STATUS_AT = 80
/** Of PortalStatus. */
const [ACTIVE, FAILED] = [3, 5] as const

/** Of a run, as it was when it began, between two statements. */
export interface RunStart {
  readonly stackPointer: number
  /** `PG_exception_stack`: where an error goes that nobody catches. */
  readonly exceptionStack: number
}

export function noteStart(instance: Instance): RunStart {
  return {
    stackPointer: Number(instance.module.___stack_pointer.value),
    exceptionStack: instance.word(instance.addressOf('PG_exception_stack')),
  }
}

/**
 * In a copy, whose stack pointer is that of the start. Throws what wasm throws.
 * @param portals where the address of their table is
 */
export function endMidway(
  instance: Instance,
  driver: Driver,
  { start, portals }: { readonly start: RunStart; readonly portals: number },
): void {
  instance.setWord(instance.addressOf('PG_exception_stack'), start.exceptionStack)
  instance.setWord(instance.addressOf('error_context_stack'), 0)
  failPortals(instance, portals)
  // Blocks with exception handlers have each their own, which only their frames would end.
  while (levelOf(instance) > 1) instance.functionOf('RollbackAndReleaseCurrentSubTransaction')()
  instance.functionOf('AbortCurrentTransaction')()
  requestCancel(instance.cancelFlags)
  const wasRaised = driver.raise(() => void instance.functionOf('ProcessInterrupts')())
  assert(wasRaised, 'a cancel ends whatever runs')
}

/**
 * What runs has a portal, whose frame would say that it has failed. One that does not stays for
 * ever, and an executor is shut down whose memory is gone.
 * Source: portalmem.c, portal.h
 */
function failPortals(instance: Instance, portals: number): void {
  const word = (at: number): number => instance.word(at)
  for (const entry of entriesOf(instance, word(portals))) {
    const portal = word(entry + PORTAL_NAME_BYTES)
    assert(word(portal) === entry, 'a portal points at its name')
    if (word(portal + STATUS_AT) === ACTIVE) instance.setWord(portal + STATUS_AT, FAILED)
  }
}

/** Of transactions in transactions; 0: there is none. */
function levelOf(instance: Instance): number {
  return Number(instance.functionOf('GetCurrentTransactionNestLevel')())
}
