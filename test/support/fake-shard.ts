/**
 * A shard's lower room, faked for the pool's tests: an engine whose backends understand a few words
 * (begin, write, hint, commit, trap, grow) and stores that hold one number each. The fakes assert
 * the contract of what they stand for: one tenant per slot, one opening per store, nothing after
 * discard.
 */
import assert from 'node:assert/strict'
import { fromUtf8 } from '../../src/base/bytes.ts'
import type { PgnapError } from '../../src/base/errors.ts'
import type { Fingerprint, TenantName } from '../../src/base/ids.ts'
import { type BackendSession, EMPTY_FRAME } from '../../src/engine/session-memory.ts'
import { NO_TIMEOUTS } from '../../src/engine/timeout-memory.ts'
import type { SignalReceiver } from '../../src/engine/backend-signals.ts'
import type { SlotImage } from '../../src/engine/slot-image.ts'
import type { Engine, Slot, TransactionStatus } from '../../src/engine/engine.ts'
import { ABORT, CLOSE_UNNAMED, DISCARD_ALL } from '../../src/pool/backend-query.ts'
import type { OpenTenant, TenantFiles, TenantSource } from '../../src/pool/tenant-source.ts'

/** The stores of a shard, as numbers: what was committed, and what is dirty while a slot has it. */
export class FakeStores implements TenantSource {
  readonly committed: Map<string, number> = new Map()
  readonly openTenants: Set<string> = new Set()
  /** Of each store, over all its openings. */
  readonly versions: Map<string, number> = new Map()
  failOpen: PgnapError | undefined = undefined
  failCommit: PgnapError | undefined = undefined
  /** Told in the middle of each commit. */
  onCommit: (() => void) | undefined = undefined
  opening: Promise<void> | undefined = undefined
  /** The disk takes its time: commits ahead wait here until they are told what came of it. */
  syncs: PromiseWithResolvers<void>[] | undefined = undefined
  /** Stores are at home elsewhere: nothing is durable before its sync. */
  areElsewhere = false

  open(tenant: TenantName): OpenTenant | Promise<OpenTenant> {
    if (this.failOpen) throw this.failOpen
    const opened = new FakeFiles(this, tenant)
    return this.opening ? this.opening.then(() => opened.handle()) : opened.handle()
  }
}

export class FakeFiles {
  readonly stores: FakeStores
  readonly tenant: string
  pending = 0
  dirty = false
  walDirty = false
  dirtyBytes = 0
  walBytesWritten = 0
  commits = 0
  version: number
  readonly held = { cacheBytes: 0, totalBytes: 0 }
  hasUnlogged = false
  irreplaceable = false

  constructor(stores: FakeStores, tenant: string) {
    this.stores = stores
    this.tenant = tenant
    this.version = stores.versions.get(tenant) ?? 0
  }

  handle(): OpenTenant {
    assert.ok(!this.stores.openTenants.has(this.tenant), 'a store is open once')
    this.stores.openTenants.add(this.tenant)
    return {
      files: this as unknown as TenantFiles,
      stamp: () => `${this.tenant} ${this.version}`,
      pristine: false,
      isElsewhere: this.stores.areElsewhere,
      tidy: () => false,
      readNotes: () => undefined,
      writeNotes: () => {},
      commitAhead: (work) => this.#commitAhead(work),
      close: () => void this.stores.openTenants.delete(this.tenant),
    }
  }

  #commitAhead(work: () => void): Promise<void> | undefined {
    const commitsBefore = this.commits
    work()
    if (!this.stores.syncs || this.commits === commitsBefore) return undefined
    const sync = Promise.withResolvers<void>()
    this.stores.syncs.push(sync)
    return sync.promise
  }

  commit(): void {
    if (this.stores.failCommit) throw this.stores.failCommit
    this.stores.onCommit?.()
    this.stores.committed.set(
      this.tenant,
      (this.stores.committed.get(this.tenant) ?? 0) + this.pending,
    )
    this.pending = 0
    this.dirty = this.walDirty = false
    this.dirtyBytes = 0
    this.commits++
    this.stores.versions.set(this.tenant, ++this.version)
  }

  shrinkCache(): void {}

  touch(wal: boolean): void {
    this.dirty = true
    if (wal) {
      this.walDirty = true
      this.walBytesWritten += 8192
    }
    this.dirtyBytes += 8192
  }
}

const FAKE_IMAGE: Omit<SlotImage, 'database'> = {
  memoryId: 'fake' as Fingerprint,
  stackPointer: 0,
  descriptors: [],
  libraryHandles: [],
  delta: { bytes: new Uint8Array(1000), endBytes: 4096 },
  heapEnd: 4096,
  status: 'idle',
  copied: false,
}

/** A backend that understands a few words. Its answer is one buffer, overwritten by each call. */
export class FakeSlot implements Slot {
  errorsRaised = 0
  transactionStatus: TransactionStatus = 'idle'
  /** What a backend knows of its sessions; the frame is whatever was put there. */
  readonly session: { -readonly [Key in keyof BackendSession]: BackendSession[Key] } = {
    frame: EMPTY_FRAME,
    clientEncoding: 'UTF8',
    convert: (text) => text,
    preparedCount: 0,
    processId: 0,
    setDefaults: () => {},
    defaultOf: () => undefined,
    holdsOn: false,
    holdsLocks: false,
    isTaken: undefined,
    portalCount: 0,
    mayHaveTemporaryTables: false,
    channels: [],
    settings: new Map(),
    timeouts: NO_TIMEOUTS,
    transactionStart: 0n,
    hasSnapshot: false,
    query: new Uint8Array(0),
    mayHaveStoredSettings: false,
    userIds: '10 10',
  }
  readonly takeDatabaseStatements = (): [] => []
  signalReceiver: SignalReceiver | undefined = undefined
  memoryBytes = 1_000
  reusable = true
  canNap = false
  canCopy = false
  discarded = false
  files: FakeFiles | undefined = undefined
  readonly log: string[]
  readonly #answer = new Uint8Array(64)
  bootError: Error | undefined = undefined
  /** What may pause does, until it is told to go on. */
  pauses: PromiseWithResolvers<void>[] | undefined = undefined
  /** What comes to pass before that. */
  works: (() => void) | undefined = undefined
  awayMs = 0

  constructor(log: string[]) {
    this.log = log
  }

  boot(files: TenantFiles): void {
    this.#load(files, 'boot')
  }

  begin(files: TenantFiles): void {
    this.#load(files, 'begin')
  }

  resume(files: TenantFiles, image: SlotImage): void {
    this.#load(files, 'resume')
    this.transactionStatus = image.status
  }

  copy(): SlotImage {
    return { ...this.#image, copied: true }
  }

  readonly transaction: number = 0
  readonly hasTransacted: boolean = false

  fork(): never {
    return assert.fail('these tenants have no files to read in beside')
  }

  recycle(): void {}

  nap(): SlotImage {
    assert.ok(this.files && this.canNap, 'naps only when it can')
    this.log.push(`nap ${this.files.tenant}`)
    const image = this.#image
    this.unload()
    return image
  }

  get #image(): SlotImage {
    const database = this.files?.tenant ?? ''
    return { ...FAKE_IMAGE, database, status: this.transactionStatus }
  }

  #load(files: TenantFiles, how: string): void {
    assert.ok(!this.files && !this.discarded, 'loaded when empty')
    if (this.bootError) throw this.bootError
    this.files = files as unknown as FakeFiles
    this.transactionStatus = 'idle'
    this.log.push(`${how} ${this.files.tenant}`)
  }

  runPausing(
    messages: Uint8Array,
    _client?: number,
    _others?: unknown,
    ask?: () => Promise<void>,
  ): Uint8Array | Promise<Uint8Array> {
    if (!this.pauses) return this.run(messages)
    const pause = Promise.withResolvers<void>()
    this.pauses.push(pause)
    this.works?.()
    void ask?.().then(() => this.log.push(`${this.files?.tenant} goes on`))
    return pause.promise.then(() => this.run(messages))
  }

  cancel(): void {
    this.log.push(`cancel ${this.files?.tenant}`)
  }

  run(messages: Uint8Array): Uint8Array {
    assert.ok(this.files && !this.discarded, 'runs only what is loaded')
    const text = this.#word(messages)
    this.log.push(`${this.files.tenant}: ${text}`)
    if (text === 'trap') throw new Error('unreachable executed')
    if (text === 'begin') this.transactionStatus = 'transaction'
    if (text === 'commit' || text === 'abort') this.transactionStatus = 'idle'
    if (text === 'write' || text === 'writes') {
      this.files.pending++
      this.files.touch(true)
    }
    if (text === 'hint') this.files.touch(false)
    if (text === 'grow') this.reusable = false
    const length = new TextEncoder().encodeInto(`did ${text}`, this.#answer).written
    const isPools = text === 'own' || text === 'discard all'
    return this.#answer.subarray(0, isPools ? 0 : length)
  }

  #word(messages: Uint8Array): string {
    if (messages === ABORT) return 'abort'
    if (messages === DISCARD_ALL || messages === CLOSE_UNNAMED) return 'discard all'
    return messages[0] === 0x50 ? 'own' : fromUtf8(messages)
  }

  unload(): void {
    this.files = undefined
  }

  shutDown(): void {
    this.log.push(`shut down ${this.files?.tenant}`)
    this.files?.touch(true)
    this.unload()
  }

  discard(): void {
    this.discarded = true
  }
}

export class FakeEngine implements Engine {
  readonly fingerprint: Fingerprint = 'fake' as Fingerprint
  readonly postgresMajor: number = 18
  readonly slots: FakeSlot[] = []
  readonly log: string[] = []
  fail: Error | undefined = undefined

  async createSlot(): Promise<Slot> {
    if (this.fail) throw this.fail
    const slot = new FakeSlot(this.log)
    this.slots.push(slot)
    return slot
  }
}
