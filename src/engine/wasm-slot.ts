/**
 * A slot made of one WASM Postgres.
 *
 *     empty --boot, begin, resume--> loaded --nap, unload, shutDown--> empty
 *     any --throw--> broken --discard--> gone
 *
 * The memory of an empty slot equals the base, byte for byte: nothing of a tenant stays behind.
 * `verifySwaps` looks.
 *
 * Everything here is synchronous, but a run that pauses (`pausing.ts`): until it has ended nothing
 * else can be done with its slot. A slot that threw must be discarded: wasm memory after a trap, or
 * after a store failed under a page fault, proves nothing.
 */
import { assert } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'
import { SYNC } from '../base/protocol-message.ts'
import type { TenantFiles } from '../store/tenant-files.ts'
import { BackendSignals, type SignalReceiver } from './backend-signals.ts'
import { BUILT_NAME, FormerNames, renameIdle } from './database-name.ts'
import { answerForDatabases } from './database-functions.ts'
import { DatabaseScans } from './database-scan.ts'
import type { OtherDatabases } from './database-sight.ts'
import { type DatabaseStatement, DatabaseStatements } from './database-statements.ts'
import { Driver, type LaterEnd } from './driver.ts'
import type { Slot, TransactionStatus } from './engine.ts'
import { statusOf } from './answer-end.ts'
import type { Instance } from './instance.ts'
import { type InterruptFlags, isReadingCommand, requestCancel } from './interrupts.ts'
import type { MemoryDelta, PackedDelta } from './memory-delta.ts'
import { endMidway, noteStart, type RunStart } from './midway.ts'
import type { PauseHost } from './pausing.ts'
import { endPostgres, startPostgres } from './postgres-process.ts'
import { explain, explainStart } from './slot-failure.ts'
import { SlotFiles } from './slot-files.ts'
import { type SessionFacts, showActivity } from './session-activity.ts'
import { SessionMemory } from './session-memory.ts'
import { hasOwnSettings } from './settings-file.ts'
import { clearingMappings } from './shared-memory.ts'
import type { NamedRunState, SlotImage } from './slot-image.ts'
import { WalTail } from './wal-tail.ts'
import type { WasmSlotOptions } from './wasm-slot-options.ts'
import { WriteWatch } from './write-watch.ts'

export class WasmSlot implements Slot {
  readonly #options: WasmSlotOptions
  readonly #instance: Instance
  readonly #delta: MemoryDelta
  readonly #driver: Driver
  readonly #signals: BackendSignals
  readonly #databaseStatements: DatabaseStatements
  readonly #databaseScans: DatabaseScans
  readonly #walTail: WalTail
  readonly #writeWatch: WriteWatch
  /** Entries of the function table that every slot has. */
  readonly #tableLength: number
  readonly interruptFlags: InterruptFlags
  readonly session: SessionMemory
  /** What the database of the tenant that is loaded is called. */
  #database = BUILT_NAME
  #state: 'empty' | 'loaded' | 'running' | 'broken' | 'discarded' = 'empty'
  #status: TransactionStatus = 'idle'
  lockedOut: Slot['lockedOut'] = undefined
  /** Of the last run that could pause. */
  #runStart: RunStart | undefined

  constructor(options: WasmSlotOptions) {
    const { instance } = options
    this.#options = options
    this.#instance = instance
    this.#delta = options.delta
    const { sessionAnchors } = options.assets
    const { timeoutTable: timeoutTableAt, commandRead: commandReadAt } = sessionAnchors
    this.interruptFlags = { ...instance.cancelFlags, timeoutTableAt, commandReadAt }
    this.#driver = new Driver({
      module: instance.module,
      answerBytesMax: options.answerBytesMax,
      cancel: () => requestCancel(this.interruptFlags),
      commandReadAt,
      beforeReady: () => this.session.encoding.speakTo('pool'),
      takeMetLimit: () => instance.files.takeMetLimit(),
    })
    const { signals, statements, scans, databaseFunctions } = sessionAnchors
    this.#walTail = new WalTail(instance)
    const parts = { flags: this.interruptFlags, walTail: this.#walTail }
    this.session = new SessionMemory(sessionAnchors, instance, parts)
    this.#databaseScans = new DatabaseScans(instance, scans)
    this.#databaseStatements = new DatabaseStatements(instance, statements, this.#databaseScans)
    answerForDatabases(instance, databaseFunctions, this.#databaseScans)
    this.#signals = new BackendSignals(instance, signals, this.session)
    const activity = { ...sessionAnchors.activity, original: sessionAnchors.activityFunction }
    const sessions = (): readonly SessionFacts[] | undefined => this.signalReceiver?.sessions()
    showActivity(instance, activity, sessions, () => this.session.processId)
    this.#writeWatch = new WriteWatch(instance, this.#walTail, statements)
    this.#tableLength = instance.tableLength
  }

  get transactionStatus(): TransactionStatus {
    return this.#status
  }

  takeDatabaseStatements(): readonly DatabaseStatement[] {
    return this.#databaseStatements.take()
  }

  get signalReceiver(): SignalReceiver | undefined {
    return this.#signals.receiver
  }

  set signalReceiver(receiver: SignalReceiver | undefined) {
    this.#signals.receiver = receiver
  }

  get memoryBytes(): number {
    return this.#instance.module.HEAPU8.length
  }

  get answerBytes(): number {
    return this.#driver.bufferBytes
  }

  get growthBytes(): number {
    return Math.max(0, this.#scanEnd - this.#options.baseEndBytes)
  }

  get reusable(): boolean {
    const usable = this.#state === 'empty' || this.#state === 'loaded'
    const { retireBytes } = this.#options
    return usable && !this.#changed && this.memoryBytes <= retireBytes
  }

  get canNap(): boolean {
    return this.#state === 'loaded' && this.#isMovable
  }

  get canCopy(): boolean {
    const isWhole = this.#state === 'loaded' || this.#isMidway
    return isWhole && this.#isMovable && this.memoryBytes <= this.#options.retireBytes
  }

  /** In the middle of a statement, and the thread does something else. */
  get #isMidway(): boolean {
    if (this.#state !== 'running' || !this.#instance.pausing?.isAway) return false
    return !isReadingCommand(this.interruptFlags) && this.#driver.isAtLast
  }

  /** Whether what is outside of its memory can be had elsewhere. */
  get #isMovable(): boolean {
    const { files } = this.#instance
    if (this.#changed || files.settingsChanged || files.keepsStatistics) return false
    return !this.#databaseScans.areOpen && files.descriptors() !== undefined
  }

  /** The instance has functions that others have not: its memory fits only itself. */
  get #changed(): boolean {
    return this.#instance.tableLength !== this.#tableLength
  }

  boot(files: TenantFiles, database: string = BUILT_NAME): void {
    this.#begin()
    const names = new FormerNames(files)
    files.starting = true
    try {
      // Relcache files of another build would be of another Postgres, perhaps.
      this.#instance.files.starting = files.templateId === this.#options.assets.template.id
      this.#start(files, database, names)
    } catch (error) {
      throw explainStart(this.#instance, this.#driver, { error, files })
    } finally {
      this.#instance.files.starting = false
    }
    this.#hearSettings()
    files.noteStart()
    this.#loaded('idle')
  }

  /** Twice, if recovery has brought a former name of the database back (`database-name.ts`). */
  #start(files: TenantFiles, database: string, names: FormerNames): void {
    try {
      this.#startOnce(files, database)
      if (!names.haveComeBack(this.#instance.files.databaseName)) return
      endPostgres(this.#instance, this.#driver)
      this.#instance.files.removeCounters()
    } catch (error) {
      // Then it ended in good order, and only did not find its database.
      const ended = error instanceof PgnapError && error.code === 'STORE_CORRUPT'
      const { fault, databaseName } = this.#instance.files
      if (!ended || fault !== undefined || !names.haveComeBack(databaseName)) throw error
    }
    this.#delta.revert(this.#scanEnd)
    this.#startOnce(files, database)
  }

  #startOnce(files: TenantFiles, database: string): void {
    const instance = this.#instance
    const { preMain, sessionAnchors } = this.#options.assets
    instance.forgetRun()
    this.#delta.clear(preMain.emptyRuns)
    this.#delta.apply(preMain.delta)
    instance.module.___stack_pointer.value = preMain.stackPointer
    instance.files.switchTo(files, database)
    this.#database = database
    this.#driver.bind()
    const isOther = files.templateId !== this.#options.assets.template.id || hasOwnSettings(files)
    const parts = { instance, delta: this.#delta }
    clearingMappings(parts, isOther ? undefined : preMain.sharedMemory, () =>
      startPostgres(instance, this.#options.startParameters, sessionAnchors.reporting),
    )
    instance.files.throwFault()
  }

  /** What a server says in its greeting Postgres now says at its first chance: to nobody. */
  #hearSettings(): void {
    this.#driver.run(SYNC)
    this.#instance.files.throwFault()
  }

  begin(files: TenantFiles, database: string = BUILT_NAME): void {
    this.#begin()
    const { idle } = this.#options.assets
    renameIdle(this.#instance.module.HEAPU8, idle.names, database)
    this.#goOn(files, { ...idle, database }, true)
    this.#loaded('idle')
  }

  resume(files: TenantFiles, image: SlotImage): void {
    if (image.memoryId !== this.#options.assets.memoryId) {
      throw new PgnapError('IMAGE_INVALID', 'the image is of another build of the engine')
    }
    if (!SlotFiles.fit(image.descriptors, files)) {
      throw new PgnapError('IMAGE_INVALID', 'the image has files open that do not exist')
    }
    assert(image.delta.bytes.length > 0, 'an image is not used after its memory was taken')
    this.#begin()
    this.#instance.growTo(Math.max(image.heapEnd, image.delta.endBytes))
    this.#delta.apply(image.delta)
    this.signalReceiver = image.signalReceiver ?? this.signalReceiver
    this.#goOn(files, image, image.copied)
    this.#loaded(image.status)
  }

  get watch(): WriteWatch {
    return this.#writeWatch
  }

  nap(): SlotImage {
    this.#writeWatch.endWatch()
    assert(this.canNap, 'only what fits other slots is taken out as an image')
    const image = this.#image(false)
    this.#empty(image.delta)
    return image
  }

  copy(): SlotImage {
    assert(this.canCopy, 'only what fits other slots is copied')
    return this.#image(true)
  }

  fork(files: TenantFiles, image: SlotImage): WriteWatch {
    this.resume(files, image)
    this.#instance.files.forked = true
    if (image.midway) {
      const { portals } = this.#options.assets.sessionAnchors
      endMidway(this.#instance, this.#driver, { start: image.midway, portals })
      this.#status = 'idle'
    }
    this.#writeWatch.arm()
    return this.#writeWatch
  }

  get hasTransacted(): boolean {
    return this.#walTail.hasTransacted
  }

  get transaction(): number {
    return this.#walTail.localTransaction
  }

  recycle({ delta }: SlotImage): void {
    this.#delta.recycle(delta)
  }

  get errorsRaised(): number {
    return this.#driver.errorsRaised
  }

  /**
   * A `run` comes next: from now on a cancel would be forgotten, until its first command has been
   * read. To be called before another thread is told that something runs.
   */
  expectCommand(): void {
    this.#driver.expectCommand()
  }

  run(messages: Uint8Array, client?: number, others?: OtherDatabases): Uint8Array {
    return this.#runNow(messages, client, others)
  }

  #runNow(messages: Uint8Array, client?: number, others?: OtherDatabases): Uint8Array {
    assert(this.#state === 'loaded', `a slot runs only what is loaded, not ${this.#state}`)
    try {
      if (others) this.#databaseScans.show(others)
      this.session.locks.begin(this.#status === 'idle')
      this.#speakTo(client)
      const ofClient = client ? undefined : this.session.query
      const answer = this.#driver.run(messages)
      if (ofClient) this.session.query = ofClient
      return this.#ran(answer, others, client)
    } catch (error) {
      this.#state = 'broken'
      throw explain(this.#instance, this.#driver, error)
    } finally {
      this.#settle()
    }
  }

  runPausing(
    messages: Uint8Array,
    client?: number,
    others?: OtherDatabases,
    pause?: () => Promise<void>,
  ): Uint8Array | Promise<Uint8Array> {
    const { pausing } = this.#instance
    if (!pausing?.host) return this.#runNow(messages, client, others)
    assert(this.#state === 'loaded', `a slot runs only what is loaded, not ${this.#state}`)
    this.#state = 'running'
    this.#runStart = noteStart(this.#instance)
    pausing.pause = pause
    pausing.onReturn = undefined
    const { host } = pausing
    const ended = (answer: Uint8Array): Uint8Array => {
      assert(this.#state === 'running', 'what has paused is left alone')
      this.#state = 'loaded'
      const told = this.#ran(answer, others, client)
      this.#settle()
      return told
    }
    const failed = (error: unknown): unknown => {
      this.#state = 'broken'
      this.#settle()
      return explain(this.#instance, this.#driver, error)
    }
    const later: LaterEnd = {
      ended: (answer) => {
        const told = ended(answer)
        return host.end(told) ?? told
      },
      failed: (error) => {
        host.end(undefined)
        return failed(error)
      },
    }
    try {
      if (others) this.#databaseScans.show(others)
      this.session.locks.begin(this.#status === 'idle')
      this.#speakTo(client)
      const answer = this.#driver.runPausing(messages, pausing, later)
      return answer instanceof Promise ? answer : ended(answer)
    } catch (error) {
      throw failed(error)
    }
  }

  /** Of a run that has ended: what was meant for it does not meet the next one. */
  #settle(): void {
    this.#signals.settle()
    this.lockedOut = this.session.locks.settle()
  }

  /** Whoever has no number that clients know talks UTF-8, whatever was set. */
  #speakTo(client = 0): void {
    this.session.encoding.speakTo(client > 0 ? 'client' : 'pool')
  }

  cancel(forGood = false): void {
    const cancel = (): void => requestCancel(this.interruptFlags)
    const { pausing } = this.#instance
    if (forGood && pausing) pausing.onReturn = cancel
    cancel()
  }

  get awayMs(): number {
    return this.#instance.pausing?.host?.awayMs ?? 0
  }

  set pauseHost(host: PauseHost) {
    if (this.#instance.pausing) this.#instance.pausing.host = host
  }

  /** What has to be seen to after each run. */
  #ran(answer: Uint8Array, others: OtherDatabases | undefined, client = 0): Uint8Array {
    if (others) this.#databaseScans.hide()
    this.#walTail.flush()
    this.#instance.files.throwFault()
    // A batch that ended in Flush has no ReadyForQuery: the backend is asked.
    const isOpen = (): boolean => this.#instance.module._IsTransactionBlock() !== 0
    this.#status = statusOf(answer) ?? (isOpen() ? 'transaction' : 'idle')
    if (this.#status === 'idle') this.#databaseScans.settle()
    return client > 0 ? this.session.encoding.tellReports(answer) : answer
  }

  unload(): void {
    assert(this.#state === 'loaded', `only a loaded slot is unloaded, not ${this.#state}`)
    this.#state = 'broken'
    this.#delta.revert(this.#scanEnd)
    this.#empty()
  }

  shutDown(): void {
    assert(this.#state === 'loaded', `only a loaded slot is shut down, not ${this.#state}`)
    this.#state = 'broken'
    const { files } = this.#instance
    // A process that ends wants to be called what it began as.
    this.session.processId = 0
    try {
      endPostgres(this.#instance, this.#driver)
      files.throwFault()
    } catch (error) {
      throw explain(this.#instance, this.#driver, error)
    }
    files.removeCounters()
    this.#delta.revert(this.#scanEnd)
    this.#empty()
  }

  discard(): void {
    this.#state = 'discarded'
  }

  /** Until a tenant is loaded whole, nothing in this slot may be used. */
  #begin(): void {
    assert(this.#state === 'empty', `a slot is empty before it is loaded, not ${this.#state}`)
    this.#state = 'broken'
  }

  #image(copied: boolean): SlotImage {
    const instance = this.#instance
    const midway = this.#isMidway ? this.#runStart : undefined
    const descriptors = instance.files.descriptors()
    assert(descriptors, 'what can nap has only open what can be opened elsewhere')
    const facts = {
      memoryId: this.#options.assets.memoryId,
      database: this.#database,
      stackPointer: midway?.stackPointer ?? Number(instance.module.___stack_pointer.value),
      descriptors,
      libraryHandles: instance.libraryHandles,
      heapEnd: instance.heapEnd,
      status: this.#status,
      copied,
      midway,
    }
    const end = this.#scanEnd
    const { signalReceiver } = this
    if (copied) return { ...facts, delta: this.#delta.capture(end), signalReceiver }
    this.#state = 'broken'
    return { ...facts, delta: this.#delta.take(end) }
  }

  /** Memory is in place: connects what is outside of it. */
  #goOn(files: TenantFiles, state: NamedRunState, copied: boolean): void {
    const instance = this.#instance
    const { random, assets } = this.#options
    instance.module.___stack_pointer.value = state.stackPointer
    instance.files.switchTo(files, state.database)
    this.#database = state.database
    instance.resumeRun(state.libraryHandles)
    instance.files.reopen(state.descriptors)
    instance.renewRandom(random, copied ? assets.randomStateAt : undefined)
    this.#driver.bind()
  }

  #loaded(status: TransactionStatus): void {
    this.#walTail.begin()
    this.#databaseScans.forget()
    this.#status = status
    this.#state = 'loaded'
  }

  /** The tenant has left. @param left its memory, if that was captured */
  #empty(left?: PackedDelta): void {
    if (this.#options.verifySwaps) {
      const different = this.#delta.countDifferent(this.memoryBytes)
      assert(different === 0, `${different} pages of a tenant that has left are still there`)
    }
    this.#delta.settle(left)
    this.#writeWatch.forget()
    this.#signals.receiver = undefined
    this.#databaseStatements.take()
    this.#driver.forgetAnswer()
    this.#status = 'idle'
    this.#state = 'empty'
  }

  /** Beyond it, memory is as it was when the instance was made: zeros. */
  get #scanEnd(): number {
    const { heapEnd } = this.#instance
    return Math.min(this.memoryBytes, Math.max(heapEnd, this.#options.baseEndBytes))
  }
}
