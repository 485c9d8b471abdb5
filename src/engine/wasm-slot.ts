/**
 * A slot made of one WASM Postgres.
 *
 *   empty --boot(files)--> loaded --unload() or shutDown()--> empty
 *     any --throw--> broken --discard()--> gone
 *
 * Everything here is synchronous. A slot that threw must be discarded: wasm memory after a trap, or
 * after a store failed under a page fault, proves nothing.
 */
import { assert } from '../base/assert.ts'
import { fromUtf8 } from '../base/bytes.ts'
import { PgnapError } from '../base/errors.ts'
import type { TenantFiles } from '../store/tenant-files.ts'
import { Driver } from './driver.ts'
import { isExitStatus } from './emscripten.ts'
import type { Slot, TransactionStatus } from './engine.ts'
import type { Instance } from './instance.ts'
import { type InterruptFlags, requestCancel } from './interrupts.ts'
import { type MemoryImage, restoreMemory } from './memory-image.ts'
import type { PageClearer } from './page-clearer.ts'
import { REFUSED_SETTINGS_FILE, setSettingsAside } from './settings-file.ts'
import { PGDATA } from './slot-files.ts'

/** callMain's answer when Postgres has started and waits in its main loop (PGlite's own code). */
const STATUS_ALIVE = 99
/** Exit status of a process that ended as it was asked to. */
const STATUS_ENDED = 0
const TERMINATE: Uint8Array = new Uint8Array([0x58, 0, 0, 0, 4])
const MESSAGE_READY = 0x5a
const MESSAGE_ERROR = 0x45
const STATUS_BY_BYTE: Readonly<Record<number, TransactionStatus>> = {
  0x49: 'idle',
  0x54: 'transaction',
  0x45: 'failed',
}

export interface WasmSlotOptions {
  readonly instance: Instance
  readonly preMain: MemoryImage
  readonly pageClearer: PageClearer
  /** Command line of Postgres, without the data folder and the database. */
  readonly startParameters: readonly string[]
  /** Heap beyond which the slot is not used for another tenant, in bytes. */
  readonly retireBytes: number
  readonly answerBytesMax: number
}

export class WasmSlot implements Slot {
  readonly #instance: Instance
  readonly #preMain: MemoryImage
  readonly #pageClearer: PageClearer
  readonly #startParameters: readonly string[]
  readonly #retireBytes: number
  readonly #driver: Driver
  readonly interruptFlags: InterruptFlags
  #state: 'empty' | 'loaded' | 'broken' | 'discarded' = 'empty'
  #status: TransactionStatus = 'idle'

  constructor(options: WasmSlotOptions) {
    const { instance } = options
    this.#instance = instance
    this.#preMain = options.preMain
    this.#pageClearer = options.pageClearer
    this.#startParameters = options.startParameters
    this.#retireBytes = options.retireBytes
    this.interruptFlags = instance.interruptFlags
    this.#driver = new Driver({
      module: instance.module,
      answerBytesMax: options.answerBytesMax,
      cancel: () => requestCancel(this.interruptFlags),
    })
  }

  get transactionStatus(): TransactionStatus {
    return this.#status
  }

  get memoryBytes(): number {
    return this.#instance.module.HEAPU8.length
  }

  get reusable(): boolean {
    const usable = this.#state === 'empty' || this.#state === 'loaded'
    return usable && !this.#instance.extraLibraries && this.memoryBytes <= this.#retireBytes
  }

  boot(files: TenantFiles): void {
    assert(this.#state === 'empty', `a slot is empty before it boots, not ${this.#state}`)
    const instance = this.#instance
    // Until Postgres has started, nothing in this slot may be used.
    this.#state = 'broken'
    instance.forgetRun()
    restoreMemory(instance.module.HEAPU8, this.#preMain, instance.heapEnd, this.#pageClearer)
    instance.module.___stack_pointer.value = this.#preMain.stackPointer
    instance.files.switchTo(files)
    this.#driver.bind()
    try {
      startPostgres(instance, this.#startParameters)
      instance.files.throwFault()
    } catch (error) {
      throw this.#explainStart(error, files)
    }
    this.#status = 'idle'
    this.#state = 'loaded'
  }

  run(messages: Uint8Array): Uint8Array {
    assert(this.#state === 'loaded', `a slot runs only what is loaded, not ${this.#state}`)
    try {
      const answer = this.#driver.run(messages)
      this.#instance.files.throwFault()
      this.#status = statusOf(answer) ?? this.#statusFromModule()
      return answer
    } catch (error) {
      this.#state = 'broken'
      throw this.#explain(error)
    }
  }

  unload(): void {
    assert(this.#state === 'loaded', `only a loaded slot is unloaded, not ${this.#state}`)
    this.#state = 'empty'
    this.#status = 'idle'
  }

  shutDown(): void {
    assert(this.#state === 'loaded', `only a loaded slot is shut down, not ${this.#state}`)
    this.#state = 'broken'
    const { files } = this.#instance
    try {
      endPostgres(this.#instance, this.#driver)
      files.throwFault()
    } catch (error) {
      throw this.#explain(error)
    }
    files.removeCounters()
    this.#state = 'empty'
    this.#status = 'idle'
  }

  discard(): void {
    this.#state = 'discarded'
  }

  /** A batch that ended in Flush has no ReadyForQuery: ask the backend. */
  #statusFromModule(): TransactionStatus {
    return this.#instance.module._IsTransactionBlock() === 0 ? 'idle' : 'transaction'
  }

  /**
   * Recovery that cannot read a page panics and aborts: what the store said is the reason. A start
   * that Postgres itself refused may be its owner's doing, who must be able to undo it.
   */
  #explainStart(error: unknown, files: TenantFiles): PgnapError {
    const known = this.#explain(error)
    const refused = this.#instance.files.fault === undefined && known.code === 'STORE_CORRUPT'
    if (!refused || !setSettingsAside(files)) return known
    const message = 'Postgres did not start with the settings of ALTER SYSTEM: they are set aside'
    return new PgnapError('SETTINGS_REFUSED', message, {
      cause: known,
      hint: `connect again; select pg_read_file('${REFUSED_SETTINGS_FILE}') shows them`,
      ...(known.detail === undefined ? {} : { detail: known.detail }),
    })
  }

  #explain(error: unknown): PgnapError {
    const { fault } = this.#instance.files
    if (fault instanceof PgnapError) return fault
    if (error instanceof PgnapError) return error
    const hint = 'the same statement may work now: the tenant restarts from its store'
    if (isExitStatus(error)) {
      const said = lastErrorText(this.#driver.answer)
      return new PgnapError('SLOT_LOST', said ?? `Postgres exited with status ${error.status}`, {
        hint,
      })
    }
    return new PgnapError('SLOT_LOST', 'the backend of this tenant crashed', { hint, cause: error })
  }
}

/**
 * Runs Postgres's main until it waits for messages; crash recovery happens in here.
 * @throws PgnapError STORE_CORRUPT if Postgres ends instead, and whatever wasm threw
 */
export function startPostgres(instance: Instance, parameters: readonly string[]): void {
  const { module } = instance
  module._pgl_setPGliteActive(1)
  const status = module.callMain([...parameters, '-D', PGDATA, 'postgres'])
  instance.files.throwFault()
  if (status !== STATUS_ALIVE) throw didNotStart(instance, status)
  try {
    module._pgl_startPGlite()
  } catch (error) {
    throw isExitStatus(error) ? didNotStart(instance, error.status) : error
  }
}

/**
 * Lets the backend end as when its client says goodbye, outside PGlite's own mode, in which it
 * would only wait for the next one. In single-user mode this writes the shutdown checkpoint.
 * @throws PgnapError SLOT_LOST if it did not end, and whatever wasm threw
 */
function endPostgres({ module }: Instance, driver: Driver): void {
  module._pgl_setPGliteActive(0)
  try {
    driver.run(TERMINATE)
  } catch (error) {
    if (isExitStatus(error) && error.status === STATUS_ENDED) return
    throw error
  }
  throw new PgnapError('SLOT_LOST', 'Postgres did not end when it was told to')
}

function didNotStart({ lastWords }: Instance, status: number): PgnapError {
  return new PgnapError('STORE_CORRUPT', `Postgres did not start (status ${status})`, {
    hint: 'run `pgnap verify` on this tenant; if it finds damage, restore its file from a backup',
    ...(lastWords === undefined ? {} : { detail: lastWords }),
  })
}

/** Transaction status in the ReadyForQuery that ends `answer`, if one does. */
function statusOf(answer: Uint8Array): TransactionStatus | undefined {
  // ReadyForQuery is the only message of 6 bytes that can stand last with this type and length.
  const at = answer.length - 6
  if (at < 0 || answer[at] !== MESSAGE_READY || answer[at + 4] !== 5) return undefined
  return STATUS_BY_BYTE[answer[at + 5] ?? 0]
}

/** Text of the last ErrorResponse in a run of complete backend messages. */
function lastErrorText(answer: Uint8Array): string | undefined {
  const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
  let text: string | undefined
  for (let at = 0; at + 5 <= answer.length; at += 1 + view.getUint32(at + 1)) {
    if (answer[at] !== MESSAGE_ERROR) continue
    const fields = fromUtf8(answer.slice(at + 5, at + 1 + view.getUint32(at + 1))).split('\0')
    text = fields.find((field) => field.startsWith('M'))?.slice(1) ?? text
  }
  return text
}
