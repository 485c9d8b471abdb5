/**
 * What one tenant's pool takes for its slot: every use of it puts the tenant's memory into the real
 * slot first, if it is not there. See `slot-share.ts`, which decides; here is what belongs to one
 * tenant.
 *
 *     empty --boot, begin, resume--> loaded --nap, unload, shutDown--> empty
 *     loaded --its image was dropped, or it had none--> lost --discard--> gone
 */
import { assert } from '../base/assert.ts'
import { PgnapError } from '../base/errors.ts'
import type { TenantFiles } from '../store/tenant-files.ts'
import type { LockedOut } from './advisory-locks.ts'
import type { SignalReceiver } from './backend-signals.ts'
import type { OtherDatabases } from './database-sight.ts'
import type { DatabaseStatement } from './database-statements.ts'
import type { Slot, TransactionStatus } from './engine.ts'
import {
  type BackendSession,
  remainsOf,
  type SessionFrame,
  type SessionRemains,
} from './session-memory.ts'
import { imageBytes, type SlotImage } from './slot-image.ts'
import type { SessionTimeouts } from './timeout-memory.ts'
import type { WriteWatch } from './write-watch.ts'

/** What an open store costs beside its pages: its tree, its statements. Measured, rounded up. */
const OPEN_STORE_BYTES = 300_000
/** Clean pages that a tenant keeps outside of the slot: its next writes find what was there. */
const KEPT_CACHE_BYTES_MAX = 65_536

/** Who has the real slot: see `SlotShare`, which explains each of these. */
export interface SlotLender {
  holds(lent: LentSlot): boolean
  enter(lent: LentSlot): Slot
  fill(lent: LentSlot, load: (slot: Slot) => void): void
  leave<Result>(lent: LentSlot, empty: (slot: Slot) => Result): Result
  drop(lent: LentSlot): void
  giveUp(lent: LentSlot): void
  ran(): void
  preparing(lent: LentSlot): Promise<void> | undefined
}

type State = 'empty' | 'loaded' | 'lost' | 'discarded'

export class LentSlot implements Slot {
  readonly session: BackendSession = new LentSession(this)
  readonly #share: SlotLender
  readonly #onLost: () => void
  /** Whether its memory is kept while another tenant is in the real slot. */
  keepsImage: boolean
  #state: State = 'empty'
  #files: TenantFiles | undefined
  #image: SlotImage | undefined
  /** What the files showed when the image was taken. */
  #imageVersion: TenantFiles['version']
  #keptBytes = 0
  #remains: SessionRemains | undefined
  /** As it was when the tenant was last in the real slot. */
  #status: TransactionStatus = 'idle'
  #errorsRaised = 0
  /** What transactions it has had in the real slot is not known any more. */
  #hasBeenOut = false
  #signalReceiver: SignalReceiver | undefined

  /**
   * @param onLost told when nothing is left of the tenant's memory, in the middle of what another
   *   tenant does: it must not touch anything but memory
   * @param keepsImage as the property, which it begins as
   */
  constructor(share: SlotLender, onLost: () => void, keepsImage: boolean) {
    this.#share = share
    this.#onLost = onLost
    this.keepsImage = keepsImage
  }

  /** Where its memory is; undefined: nowhere. */
  get place(): 'slot' | 'image' | undefined {
    if (this.#state !== 'loaded') return undefined
    return this.#share.holds(this) ? 'slot' : 'image'
  }

  get lost(): boolean {
    return this.#state === 'lost'
  }

  get remains(): SessionRemains | undefined {
    return this.#remains
  }

  ready(): Promise<void> | undefined {
    return this.#share.preparing(this)
  }

  get transactionStatus(): TransactionStatus {
    return this.#share.holds(this) ? this.slot.transactionStatus : this.#status
  }

  get errorsRaised(): number {
    return this.#errorsRaised
  }

  get lockedOut(): LockedOut | undefined {
    return this.slot.lockedOut
  }

  get signalReceiver(): SignalReceiver | undefined {
    return this.#signalReceiver
  }

  set signalReceiver(receiver: SignalReceiver | undefined) {
    this.#signalReceiver = receiver
    if (this.#share.holds(this)) this.slot.signalReceiver = receiver
  }

  get canNap(): boolean {
    return this.#state === 'loaded' && (!this.#share.holds(this) || this.slot.canNap)
  }

  get hasTransacted(): boolean {
    return this.#hasBeenOut || this.slot.hasTransacted
  }

  get transaction(): number {
    return this.slot.transaction
  }

  /** All of the real one, while the tenant is in it. */
  get memoryBytes(): number {
    return this.#share.holds(this) ? this.slot.memoryBytes : 0
  }

  /** A lent slot that is empty again is as good as another. */
  get canCopy(): boolean {
    return this.canNap && this.reusable
  }

  get reusable(): boolean {
    return this.#state === 'empty' || this.#state === 'loaded'
  }

  boot(files: TenantFiles, database?: string): void {
    this.#load(files, (slot) => slot.boot(files, database))
  }

  begin(files: TenantFiles, database?: string): void {
    this.#load(files, (slot) => slot.begin(files, database))
  }

  resume(files: TenantFiles, image: SlotImage): void {
    this.#load(files, (slot) => slot.resume(files, image))
  }

  run(messages: Uint8Array, client?: number, others?: OtherDatabases): Uint8Array {
    const { slot } = this
    const { errorsRaised } = slot
    try {
      return slot.run(messages, client, others)
    } finally {
      this.#errorsRaised += slot.errorsRaised - errorsRaised
      this.#share.ran()
    }
  }

  takeDatabaseStatements(): readonly DatabaseStatement[] {
    // What was read while it was in the real slot was carried out before anybody else ran.
    return this.#share.holds(this) ? this.slot.takeDatabaseStatements() : []
  }

  nap(): SlotImage {
    return this.#empty((slot) => slot.nap())
  }

  copy(): SlotImage {
    return this.slot.copy()
  }

  fork(): WriteWatch {
    assert(false, 'tenants that share one slot are not forked')
  }

  recycle(image: SlotImage): void {
    this.slot.recycle(image)
  }

  unload(): void {
    this.#empty((slot) => slot.unload())
  }

  shutDown(): void {
    this.#empty((slot) => slot.shutDown())
  }

  discard(): void {
    this.#share.giveUp(this)
    this.#image = undefined
    this.#files = undefined
    this.#state = 'discarded'
  }

  /**
   * Puts the tenant into the real slot now, for what is run next. False: there was nothing to do,
   * since it is in it, or is not loaded, or lost.
   */
  bringIn(): boolean {
    if (this.#state !== 'loaded' || this.#share.holds(this) || !this.#image) return false
    this.#share.enter(this)
    return true
  }

  /** Forgets the tenant, wherever its memory is, and writes nothing: whoever has it lost it. */
  forget(): void {
    if (this.#state === 'loaded') this.#share.drop(this)
  }

  // Called by the share, and by the session

  /** The real slot with this tenant in it. Throws SLOT_LOST if its memory is not there any more. */
  get slot(): Slot {
    if (this.#state === 'lost') throw lost()
    assert(this.#state === 'loaded', `only a loaded slot is used, not ${this.#state}`)
    return this.#share.enter(this)
  }

  get files(): TenantFiles {
    assert(this.#files, 'a tenant is loaded')
    return this.#files
  }

  /** What is in memory of its files while it is in the real slot. */
  get heldBytes(): number {
    return this.#files?.held.totalBytes ?? 0
  }

  /** What its image weighs, with what is open for the tenant. */
  get keptBytes(): number {
    return this.#keptBytes
  }

  /** It leaves the real slot, with an image or without. Reads memory and nothing else. */
  noteSession({ transactionStatus, session }: Slot): void {
    this.#remains = transactionStatus === 'idle' ? remainsOf(session) : undefined
  }

  /** It is out of the real slot from now on. */
  keepImage(image: SlotImage): void {
    const { files } = this
    this.#status = image.status
    this.#imageVersion = files.version
    this.#hasBeenOut = true
    files.shrinkCache(KEPT_CACHE_BYTES_MAX)
    this.#keptBytes = imageBytes(image) + files.held.totalBytes + OPEN_STORE_BYTES
    this.#image = image
  }

  /** Its image, to be used now or never; undefined if it is not of the files as they are. */
  takeImage(): SlotImage | undefined {
    const image = this.#image
    this.#image = undefined
    if (image && this.files.version === this.#imageVersion) return image
    this.lose()
    return undefined
  }

  /** Nothing is left of its memory. The files are closed: only their pool can open them anew. */
  lose(): void {
    if (this.#state !== 'loaded') return
    this.#image = undefined
    this.#state = 'lost'
    this.#files?.close()
    this.#onLost()
  }

  #load(files: TenantFiles, load: (slot: Slot) => void): void {
    assert(this.#state === 'empty', `a slot is empty before it is loaded, not ${this.#state}`)
    this.#share.fill(this, (slot) => {
      slot.signalReceiver = this.#signalReceiver
      load(slot)
    })
    this.#files = files
    this.#state = 'loaded'
  }

  #empty<Result>(empty: (slot: Slot) => Result): Result {
    assert(this.#state === 'loaded', `only a loaded slot is emptied, not ${this.#state}`)
    const result = this.#share.leave(this, empty)
    this.#files = undefined
    this.#signalReceiver = undefined
    this.#state = 'empty'
    return result
  }
}

/** The session of whoever is in the real slot, which is the tenant when it is asked. */
class LentSession implements BackendSession {
  readonly #lent: LentSlot

  constructor(lent: LentSlot) {
    this.#lent = lent
  }

  get #session(): BackendSession {
    return this.#lent.slot.session
  }

  get frame(): SessionFrame {
    return this.#session.frame
  }

  set frame(frame: SessionFrame) {
    this.#session.frame = frame
  }

  get preparedCount(): number {
    return this.#session.preparedCount
  }

  get processId(): number {
    return this.#session.processId
  }

  set processId(processId: number) {
    this.#session.processId = processId
  }

  get query(): Uint8Array {
    return this.#session.query
  }

  set query(text: Uint8Array) {
    this.#session.query = text
  }

  setDefaults(defaults: ReadonlyMap<string, string>): void {
    this.#session.setDefaults(defaults)
  }

  defaultOf(name: string): string | undefined {
    return this.#session.defaultOf(name)
  }

  get clientEncoding(): string {
    return this.#session.clientEncoding
  }

  convert(text: Uint8Array, from: string, to: string): Uint8Array | undefined {
    return this.#session.convert(text, from, to)
  }

  get holdsOn(): boolean {
    return this.#session.holdsOn
  }

  get holdsLocks(): boolean {
    return this.#session.holdsLocks
  }

  get isTaken(): BackendSession['isTaken'] {
    return this.#session.isTaken
  }

  set isTaken(isTaken: BackendSession['isTaken']) {
    this.#session.isTaken = isTaken
  }

  get portalCount(): number {
    return this.#session.portalCount
  }

  get mayHaveTemporaryTables(): boolean {
    return this.#session.mayHaveTemporaryTables
  }

  get channels(): readonly string[] {
    return this.#session.channels
  }

  get settings(): ReadonlyMap<string, string> {
    return this.#session.settings
  }

  get timeouts(): SessionTimeouts {
    return this.#session.timeouts
  }

  get mayHaveStoredSettings(): boolean {
    return this.#session.mayHaveStoredSettings
  }

  get transactionStart(): bigint {
    return this.#session.transactionStart
  }

  set transactionStart(at: bigint) {
    this.#session.transactionStart = at
  }

  get hasSnapshot(): boolean {
    return this.#session.hasSnapshot
  }

  set hasSnapshot(has: boolean) {
    this.#session.hasSnapshot = has
  }

  get userIds(): string {
    return this.#session.userIds
  }
}

const GIVEN_TO_OTHERS = 'the memory of this tenant was given to others'

/** Whether `error` says {@link lost}, and not that the backend has crashed by what it ran. */
export function isGivenToOthers(error: unknown): boolean {
  return error instanceof PgnapError && error.message === GIVEN_TO_OTHERS
}

/** What is told to whoever runs something in a slot whose memory was taken meanwhile. */
export function lost(): PgnapError {
  return new PgnapError('SLOT_LOST', GIVEN_TO_OTHERS, {
    hint: 'try again: the next request starts from the stored data',
  })
}
