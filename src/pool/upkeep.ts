/**
 * Does the upkeep of tenants in their idle time, one bounded step at a time, so that a client that
 * arrives waits for one step at most. What is due is decided in `maintenance.ts`.
 *
 *     survey -> tables (one VACUUM or ANALYZE per step) -> checkpoint -> notes -> tidy (slices)
 *
 * One VACUUM may take seconds. Who comes meanwhile ends it, and it is tried again after a rest
 * (`upkeep-patience.ts`).
 *
 * A client's batch in between does no harm: the plan goes on in the next idle time, and if
 * something was written meanwhile, another round follows. Postgres refusing one of these
 * statements (a client has set a role without the right) ends the round; the next write starts a
 * new one.
 *
 * It must never run while a client holds the backend; the state machine sees to that.
 */
import type { Clock } from '../base/clock.ts'
import type { PgnapError } from '../base/errors.ts'
import { toPgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import { LIMITS } from '../base/limits.ts'
import type { Log } from '../base/log.ts'
import type { Slot } from '../engine/engine.ts'
import { ownQuery, readAnswer } from './backend-query.ts'
import type { Row } from './backend-query.ts'
import { commitIfDue } from './commit-rule.ts'
import {
  afterFreezing,
  carryOver,
  FLUSH_COUNTERS_SQL,
  readLedger,
  readSettings,
  readTable,
  settle,
  SETTINGS_SQL,
  surveySql,
  taskFor,
  WAL_BYTES_SQL,
  writeLedger,
} from './maintenance.ts'
import type { Ledger, MaintenanceTask, TableFacts } from './maintenance.ts'
import { isQuiet, type PoolView } from './pool-policy.ts'
import type { OpenTenant } from './tenant-source.ts'
import { UpkeepPatience, type UpkeepSign } from './upkeep-patience.ts'

type Stage = 'survey' | 'tables' | 'checkpoint' | 'notes' | 'tidy'

/** How far the upkeep of one awake tenant has come. Made at each wake. */
export interface MaintenanceProgress {
  readonly tenant: TenantName
  stage: Stage
  tasks: MaintenanceTask[]
  /** Of the tables that have given way to somebody. */
  readonly patience: UpkeepPatience
  /** After the last step that has: until then there is no other one. Monotonic time. */
  notBeforeMs: number
  /** Counters from before this wake, less what was settled since. */
  ledger: Ledger
  /** Counters of this wake added: what the ledger will be when the tenant leaves. */
  carried: Ledger
  /** A client has written since the last look at the counters. Set by the pool. */
  clientWrote: boolean
  /** `files.walBytesWritten` when WAL was last measured, less what there was then. */
  checkpointAtBytes: number
  savedNotes: string
  /** WAL that makes the next round issue a checkpoint. */
  checkpointBytes: number
  /** WAL since the last checkpoint when the tenant last napped. */
  walBytesAtNap: number
}

/** What of a {@link MaintenanceProgress} goes with an image to disk. */
interface ProgressNotes {
  readonly ledger: string
  readonly carried: string
  readonly clientWrote: boolean
  readonly walBytes: number
}

/** What a leaving tenant still has. */
export interface Leaving {
  readonly slot: Slot
  readonly open: OpenTenant
  /** Somebody waits for the slot: nothing is written beside the store now. */
  readonly hurried: boolean
}

/** The next client should wait for a checkpoint, so much WAL has gathered, or for some tidying. */
export function isUrgent(progress: MaintenanceProgress, open: OpenTenant): boolean {
  return isCheckpointUrgent(progress, open) || open.owesRoom === true
}

function isCheckpointUrgent(progress: MaintenanceProgress, open: OpenTenant): boolean {
  const walBytes = open.files.walBytesWritten - progress.checkpointAtBytes
  return walBytes >= LIMITS.checkpointIdleBytes && walBytes >= urgentBytes(open)
}

function urgentBytes({ hasLittleRoom }: OpenTenant): number {
  return hasLittleRoom === true ? LIMITS.checkpointIdleBytes : LIMITS.checkpointBusyBytes
}

export interface UpkeepOptions {
  readonly log: Log
  readonly clock: Pick<Clock, 'monotonicMs'>
  /** Default: what runs is ended by nobody. */
  readonly sign?: UpkeepSign | undefined
  /** Of the shard, to know whether anybody has been there a moment ago. */
  readonly view?: PoolView
}

export class Upkeep {
  readonly #log: Log
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #sign: UpkeepSign | undefined
  readonly #view: PoolView | undefined
  /** Ledgers of tenants that are not awake, least recently left first. */
  readonly #ledgers = new Map<TenantName, Ledger>()

  constructor({ log, clock, sign, view }: UpkeepOptions) {
    this.#log = log
    this.#clock = clock
    this.#sign = sign
    this.#view = view
  }

  /** A tenant has been loaded. The ledger in memory is newer than the notes beside the store. */
  begin(tenant: TenantName, open: OpenTenant): MaintenanceProgress {
    const notes = open.readNotes()
    const ledger = this.#ledgers.get(tenant) ?? readLedger(notes)
    this.#ledgers.delete(tenant)
    return {
      tenant,
      stage: 'survey',
      tasks: [],
      patience: new UpkeepPatience(),
      notBeforeMs: Number.NEGATIVE_INFINITY,
      ledger,
      carried: ledger,
      clientWrote: false,
      checkpointAtBytes: open.files.walBytesWritten,
      savedNotes: notes ?? '',
      checkpointBytes: LIMITS.checkpointIdleBytes,
      walBytesAtNap: 0,
    }
  }

  /** The tenant naps; Postgres and its counters stay as they are. */
  pause(progress: MaintenanceProgress, open: OpenTenant): void {
    progress.walBytesAtNap = open.files.walBytesWritten - progress.checkpointAtBytes
  }

  /** It is awake again, its files perhaps opened anew. */
  goOn(progress: MaintenanceProgress, open: OpenTenant): void {
    progress.checkpointAtBytes = open.files.walBytesWritten - progress.walBytesAtNap
  }

  /** A paused progress as text, to be kept with the image. */
  notesOf(progress: MaintenanceProgress): string {
    const { ledger, carried, clientWrote, walBytesAtNap } = progress
    const notes: ProgressNotes = {
      ledger: writeLedger(ledger),
      carried: writeLedger(carried),
      clientWrote,
      walBytes: walBytesAtNap,
    }
    return JSON.stringify(notes)
  }

  /** What {@link notesOf} kept. The image that the notes came with was checked as a whole. */
  fromNotes(tenant: TenantName, text: string): MaintenanceProgress {
    const notes = JSON.parse(text) as ProgressNotes
    this.#ledgers.delete(tenant)
    return {
      tenant,
      stage: 'survey',
      tasks: [],
      patience: new UpkeepPatience(),
      notBeforeMs: Number.NEGATIVE_INFINITY,
      ledger: readLedger(notes.ledger),
      carried: readLedger(notes.carried),
      clientWrote: notes.clientWrote,
      checkpointAtBytes: 0,
      savedNotes: '',
      checkpointBytes: LIMITS.checkpointIdleBytes,
      walBytesAtNap: notes.walBytes,
    }
  }

  /**
   * One step. True: there is more to do.
   * @throws whatever the slot or a commit throws: the slot is lost then
   */
  step(progress: MaintenanceProgress, slot: Slot, open: OpenTenant): boolean {
    if (isCheckpointUrgent(progress, open)) {
      this.#checkpoint(progress, slot, open, urgentBytes(open))
      return true
    }
    if (open.owesRoom === true && this.#tidy(progress, open)) return true
    switch (progress.stage) {
      case 'survey':
        return this.#plan(progress, slot, open)
      case 'tables':
        return this.#doTask(progress, slot, open)
      case 'checkpoint':
        this.#checkpoint(progress, slot, open, progress.checkpointBytes)
        progress.checkpointBytes = LIMITS.checkpointIdleBytes
        progress.stage = 'notes'
        return true
      case 'notes':
        this.#saveNotes(progress, open)
        progress.stage = 'tidy'
        return true
      case 'tidy':
        if (this.#tidy(progress, open)) return true
        progress.stage = 'survey'
        return progress.clientWrote
    }
  }

  /** The tenant leaves its slot: keeps what Postgres has counted. Throws as {@link step}. */
  leave(progress: MaintenanceProgress, leaving: Leaving): void {
    const { slot, open, hurried } = leaving
    if (progress.clientWrote) this.#survey(progress, slot, open)
    if (!hurried) this.#saveNotes(progress, open)
    this.#keep(progress)
  }

  /** The tenant's slot was lost. What was counted at the last survey is the best there is. */
  lose(progress: MaintenanceProgress): void {
    this.#keep(progress)
  }

  /** The tenant may be deleted: another of the same name must not inherit its counters. */
  forget(tenant: TenantName): void {
    this.#ledgers.delete(tenant)
  }

  #keep(progress: MaintenanceProgress): void {
    this.#ledgers.delete(progress.tenant)
    this.#ledgers.set(progress.tenant, progress.carried)
    if (this.#ledgers.size <= LIMITS.maintenanceLedgersMax) return
    for (const oldest of this.#ledgers.keys()) {
      this.#ledgers.delete(oldest)
      break
    }
  }

  #plan(progress: MaintenanceProgress, slot: Slot, open: OpenTenant): boolean {
    const tables = this.#survey(progress, slot, open)
    const settings = this.#ask(progress, slot, open, SETTINGS_SQL)?.[0]
    if (!tables || !settings) return false
    const values = readSettings(settings)
    const tasks = tables.flatMap((table) => taskFor(table, progress.ledger, values) ?? [])
    progress.tasks = [...tasks, ...afterFreezing(tasks)]
    progress.patience.keepOnly(progress.tasks)
    progress.stage = 'tables'
    return true
  }

  #survey(
    progress: MaintenanceProgress,
    slot: Slot,
    open: OpenTenant,
  ): readonly TableFacts[] | undefined {
    progress.clientWrote = false
    this.#ask(progress, slot, open, FLUSH_COUNTERS_SQL)
    const rows = this.#ask(progress, slot, open, surveySql(progress.ledger))
    if (!rows) return undefined
    const tables = rows.map(readTable)
    progress.carried = carryOver(tables, progress.ledger)
    return tables
  }

  #doTask(progress: MaintenanceProgress, slot: Slot, open: OpenTenant): boolean {
    const task = progress.tasks.shift()
    if (!task) {
      progress.stage = 'checkpoint'
      return true
    }
    const { patience } = progress
    const patienceMs = patience.patienceMs(task)
    const startMs = this.#clock.monotonicMs()
    if (patienceMs === 0 && this.#isShared) {
      return this.#tryLater(progress, task, patience.foundNoRest(task, startMs))
    }
    const { statement } = task
    const { answer, wasEnded } = this.#runFor(slot, open, { statement, patienceMs })
    commitIfDue(open.files, slot.transactionStatus)
    const { refusal } = readAnswer(answer)
    if (refusal !== undefined && wasEnded) return this.#giveWay(progress, task, startMs)
    patience.ended(task)
    // A table that was dropped since the survey is refused, and that is all right.
    if (refusal !== undefined) this.#refused(progress, task.statement, refusal)
    else {
      progress.ledger = settle(progress.ledger, task)
      progress.carried = settle(progress.carried, task)
    }
    return true
  }

  /** Somebody who could come has been there a moment ago. */
  get #isShared(): boolean {
    if (!this.#sign || !this.#view) return false
    return !isQuiet(this.#view, this.#clock.monotonicMs())
  }

  /** Runs what may be ended for whoever comes. */
  #runFor(
    slot: Slot,
    open: OpenTenant,
    { statement, patienceMs }: { readonly statement: string; readonly patienceMs: number },
  ): { readonly answer: Uint8Array; readonly wasEnded: boolean } {
    const sign = this.#sign
    if (!sign) return { answer: slot.run(ownQuery(statement)), wasEnded: false }
    const { files } = open
    // What it has dirtied has to be committed, too, before anybody else's turn.
    files.midwayBytesMax = LIMITS.upkeepCommitBytes
    sign.beginUpkeep(patienceMs)
    try {
      const answer = slot.run(ownQuery(statement))
      return { answer, wasEnded: sign.endUpkeep() }
    } catch (error) {
      sign.endUpkeep()
      throw error
    } finally {
      files.midwayBytesMax = Number.POSITIVE_INFINITY
    }
  }

  #giveWay(progress: MaintenanceProgress, task: MaintenanceTask, startMs: number): true {
    const { tenant } = progress
    const ranMs = Math.round(this.#clock.monotonicMs() - startMs)
    this.#log.info('upkeep gave way', { tenant, statement: task.statement, ranMs })
    return this.#tryLater(progress, task, progress.patience.gaveWay(task))
  }

  /** Others are tried before it is tried again. */
  #tryLater(progress: MaintenanceProgress, task: MaintenanceTask, inMs: number): true {
    progress.tasks.push(task)
    progress.notBeforeMs = this.#clock.monotonicMs() + inMs
    return true
  }

  #checkpoint(
    progress: MaintenanceProgress,
    slot: Slot,
    open: OpenTenant,
    fromBytes: number,
  ): void {
    // What the files count is whole chunks, recovery among them. Postgres knows exactly.
    const exactBytes = Number(this.#ask(progress, slot, open, WAL_BYTES_SQL)?.[0]?.[0] ?? fromBytes)
    if (exactBytes >= fromBytes) this.#ask(progress, slot, open, 'checkpoint')
    const leftBytes = exactBytes >= fromBytes ? 0 : exactBytes
    progress.checkpointAtBytes = open.files.walBytesWritten - leftBytes
  }

  #saveNotes(progress: MaintenanceProgress, open: OpenTenant): void {
    const notes = writeLedger(progress.carried)
    if (notes === progress.savedNotes) return
    this.#tolerate(progress, 'the notes of a tenant were not kept', () => {
      open.writeNotes(notes)
      progress.savedNotes = notes
      return true
    })
  }

  #tidy(progress: MaintenanceProgress, open: OpenTenant): boolean {
    return this.#tolerate(progress, 'the store of a tenant was not tidied', () => open.tidy())
  }

  /**
   * Housekeeping that fails changes nothing that anybody was told; it is tried again after a
   * write.
   */
  #tolerate(progress: MaintenanceProgress, message: string, action: () => boolean): boolean {
    try {
      return action()
    } catch (error) {
      const known: PgnapError = toPgnapError(error)
      this.#log.warn(message, { tenant: progress.tenant, code: known.code, error })
      return false
    }
  }

  /**
   * The rows of one statement, or undefined if Postgres refused it. What it changed is committed.
   */
  #ask(
    progress: MaintenanceProgress,
    slot: Slot,
    open: OpenTenant,
    statement: string,
  ): readonly Row[] | undefined {
    const { rows, refusal } = readAnswer(slot.run(ownQuery(statement)))
    commitIfDue(open.files, slot.transactionStatus)
    if (refusal === undefined) return rows
    this.#refused(progress, statement, refusal)
    return undefined
  }

  #refused({ tenant }: MaintenanceProgress, statement: string, refusal: string): void {
    this.#log.info('upkeep was refused', { tenant, statement, refusal })
  }
}
