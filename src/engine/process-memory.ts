/**
 * The number by which a backend goes, as its process id: every client of a tenant is told one of
 * its own, and while it has the backend, the backend goes by that. So `pg_backend_pid()`, a
 * notification, `pg_stat_activity` and `pg_locks` say what a cancel request of that client says.
 *
 * Postgres keeps the number in several places, which must agree: a latch waits only for the process
 * that owns it, and a notification is sent to whoever is noted as the listener. One place
 * keeps what the backend calls itself towards the module's own kill(2), and stays: ProcSignal's.
 *
 * Source: Postgres 18, globals.c, proc.h, latch.h, backend_status.h, async.c, ipc.c (proc_exit: it
 * wants its own number back); on a machine with pointers of 32 bits.
 */
import { assert } from '../base/assert.ts'
import { type MemorySearch, onlyPlace } from './memory-search.ts'

/** Addresses of variables, all but the first of them pointers. */
export interface ProcessAnchors {
  /** What the backend calls itself when nobody has given it a number. */
  readonly own: number
  readonly processId: number
  readonly process: number
  /** The backend's row of pg_stat_activity. */
  readonly status: number
  readonly notifyQueue: number
}

/** struct PGPROC: the owner of its latch, and its number. */
const LATCH_OWNER_AT = 32
const PROCESS_ID_AT = 44
/** struct PgBackendStatus: change count, number, type of backend. */
const STATUS_ID_AT = 4
/** enum BackendType. */
const STANDALONE_BACKEND = 8
/** struct AsyncQueueControl: the number of the listener that is the first process of all. */
const FIRST_LISTENER_AT = 40
const LISTENER_ID_AT = 56

/** What {@link findProcessAnchors} knows a backend by. */
export interface ProcessProbe {
  /** What the module exports: where MyProcPid and MyProc lie, and what MyDatabaseId holds. */
  readonly processId: number
  readonly process: number
  readonly databaseId: number
}

/** The memory is that of a backend that listens to something. */
export function findProcessAnchors(
  memory: MemorySearch,
  probe: ProcessProbe,
  staticEnd: number,
): ProcessAnchors {
  const { processId, process, databaseId } = probe
  const own = memory.word(processId)
  const inStatic = (value: number): number[] =>
    memory.wordsEqualTo(value).filter((at) => at < staticEnd)
  const numbers = memory.wordsEqualTo(own)
  const atProcess = numbers
    .map((at) => at - memory.word(process))
    .filter((offset) => offset >= 0 && offset <= PROCESS_ID_AT)
  assert(
    atProcess.join() === `${LATCH_OWNER_AT},${PROCESS_ID_AT}`,
    `a process has its number in two places, not in ${atProcess.join()}`,
  )
  return {
    own,
    processId,
    process,
    // That of all backends' rows as well, which begins with this one; it lies before it.
    status: onlyPlace(
      'the status of the backend',
      numbers
        .filter((at) => memory.word(at + 4) === STANDALONE_BACKEND)
        .flatMap((at) => inStatic(at - STATUS_ID_AT))
        .filter((at, _, all) => all.includes(at - 4)),
    ),
    notifyQueue: onlyPlace(
      'the queue of notifications',
      numbers
        .filter((at) => memory.word(at + 4) === databaseId)
        .map((at) => at - LISTENER_ID_AT)
        .filter((at) => memory.word(at + FIRST_LISTENER_AT) === 0)
        .flatMap(inStatic),
    ),
  }
}

/** The number by which a backend goes. */
export function processIdIn(view: DataView, { processId }: ProcessAnchors): number {
  return view.getUint32(processId, true)
}

/** Makes a backend go by another number, between two batches. */
export function setProcessId(view: DataView, anchors: ProcessAnchors, to: number): void {
  const from = processIdIn(view, anchors)
  if (from === to) return
  const pointer = (at: number): number => view.getUint32(at, true)
  const listenerAt = pointer(anchors.notifyQueue) + LISTENER_ID_AT
  view.setUint32(anchors.processId, to, true)
  view.setUint32(pointer(anchors.process) + LATCH_OWNER_AT, to, true)
  view.setUint32(pointer(anchors.process) + PROCESS_ID_AT, to, true)
  view.setUint32(pointer(anchors.status) + STATUS_ID_AT, to, true)
  // Who does not listen is not there.
  if (view.getUint32(listenerAt, true) === from) view.setUint32(listenerAt, to, true)
}
