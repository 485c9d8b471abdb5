/**
 * What the pool's state machine decides about slots and the tenants in them, carried out: a tenant
 * is loaded, leaves, is cleaned up or maintained, and what came of it is reported.
 *
 * Whatever throws while it works on a slot costs that slot, and the store that is open for it: they
 * are given up together, and nothing runs in them any more.
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { PgnapError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Slot } from '../engine/engine.ts'
import { lost } from '../engine/lent-slot.ts'
import { commitIfDue } from './commit-rule.ts'
import type { ImageShelf } from './image-shelf.ts'
import type { KeepWarm } from './keep-warm.ts'
import type { LiveTenants } from './live-tenants.ts'
import { dropOrphans } from './orphaned-tables.ts'
import { dismissUsers } from './pool-client.ts'
import type { LiveTenant } from './pool-client.ts'
import { ClientEntry, type Holder } from './pool-model.ts'
import type { EvictionReason, PoolEvent, RestingPhase, SlotEntry } from './pool-model.ts'
import { batchFailure, sessionEnded, sessionTaken } from './pool-rejection.ts'
import type { PoolCounters } from './pool-statistics.ts'
import type { RestingUpkeep } from './resting-upkeep.ts'
import type { SlotRack } from './slot-rack.ts'
import type { CleanUp, Destination, TenantMover } from './tenant-mover.ts'
import type { OpenTenant } from './tenant-source.ts'
import type { Upkeep } from './upkeep.ts'

export interface SlotWorkOptions {
  readonly slots: SlotRack
  readonly tenants: LiveTenants
  readonly mover: TenantMover
  readonly shelf: ImageShelf
  readonly upkeep: Upkeep
  readonly keepWarm: KeepWarm
  readonly resting: RestingUpkeep
  readonly counters: PoolCounters
  readonly clock: Clock
  readonly log: Log
  readonly event: (event: PoolEvent) => void
  /** What it held is given up already. */
  readonly onLost: (lost: LostSlot) => void
}

/** A slot that is given up. */
export interface LostSlot {
  readonly slot: SlotEntry
  readonly error: PgnapError
  /** Nothing ran in it: who waits there in a transaction has not heard of it. */
  readonly isQuiet: boolean
}

export class SlotWork {
  readonly #options: SlotWorkOptions

  constructor(options: SlotWorkOptions) {
    this.#options = options
  }

  async boot(tenant: LiveTenant, entry: SlotEntry, from: RestingPhase): Promise<void> {
    const { keepWarm, clock, mover, slots, counters, event } = this.#options
    keepWarm.waking(tenant)
    const startMs = clock.monotonicMs()
    let slotUsable = true
    try {
      const opening = mover.open(tenant)
      // A synchronous store is loaded on the spot: no turn of the event loop for nothing.
      const open = opening instanceof Promise ? await opening : opening
      tenant.open = open
      const slot = slots.get(entry)
      assert(slot, 'a slot is there before a tenant is put into it')
      for (let waiting = slot.ready?.(); waiting; waiting = slot.ready?.()) await waiting
      slotUsable = false
      tenant.wokenFrom = mover.load(tenant, slot, { open, from })
    } catch (error) {
      return this.#bootFailed(tenant, error, { from, slotUsable })
    }
    tenant.awakeSinceMs = clock.monotonicMs()
    tenant.wakeMs = tenant.awakeSinceMs - startMs
    counters.countWake(tenant)
    if (from !== 'cold' && (tenant.wokenFrom === 'cold' || tenant.wokenFrom === 'new')) {
      this.#sessionsLost(tenant)
    }
    this.pin(tenant)
    if (!tenant.slot || !tenant.open) return
    event({ type: 'bootFinished', tenant: tenant.entry })
    // Also who only comes to read has its history forgotten.
    if (tenant.open) this.#options.resting.note(tenant.entry.name, tenant.open)
  }

  /** A client that was alone is not any more: what cannot be put aside keeps it the backend. */
  pin(tenant: LiveTenant): void {
    const { slot, sessions, clients, entry } = tenant
    if (!slot || clients.size < 2 || entry.holder) return
    let owner: unknown
    try {
      owner = sessions.pinned(slot)
    } catch (error) {
      return void this.lose(tenant, error)
    }
    for (const client of clients) {
      if (client === owner) this.#options.event({ type: 'clientPinned', client: client.entry })
    }
  }

  /** If it was only the store that could not be opened, an image is as good as before. */
  #bootFailed(
    tenant: LiveTenant,
    error: unknown,
    { from, slotUsable }: { readonly from: RestingPhase; readonly slotUsable: boolean },
  ): void {
    const { counters, log, shelf, event } = this.#options
    counters.bootFailures++
    log.error('a tenant could not be loaded', { tenant: tenant.entry.name, error })
    const kept = tenant.image ? 'napping' : 'asleep'
    const to = slotUsable && from !== 'cold' ? kept : 'cold'
    if (to === 'cold') {
      shelf.drop(tenant)
      this.#unload(tenant)
    }
    for (const client of tenant.clients) if (client.pending) client.mayGoOn = to !== 'cold'
    const failure = batchFailure(error)
    event({
      type: 'bootFailed',
      tenant: tenant.entry,
      to,
      error: failure,
      slotUsable,
    })
    if (to === 'cold' && from !== to) queueMicrotask(() => this.#sessionsLost(tenant))
  }

  evict(tenant: LiveTenant, reason: EvictionReason): void {
    const { clock, mover, event, counters, shelf } = this.#options
    const { slot } = tenant
    assert(slot, 'only a loaded tenant can leave')
    const startMs = clock.monotonicMs()
    let to: Destination
    tenant.fork = undefined
    try {
      to = mover.leave(tenant, reason)
    } catch (error) {
      return void this.lose(tenant, error)
    }
    if (to === 'stays') return event({ type: 'evictionRefused', tenant: tenant.entry })
    this.#noteLeft(tenant, reason)
    if (to === 'cold') this.#unload(tenant)
    counters.countLeave(tenant, reason, startMs, clock.monotonicMs())
    const slotReusable = slot.reusable
    if (!slotReusable) counters.slotsRetired++
    event({ type: 'evicted', tenant: tenant.entry, to, slotReusable })
    shelf.makeRoom()
  }

  /** It is looked at when its history has passed; but who asked for this may want its file. */
  #noteLeft({ entry, open }: LiveTenant, reason: EvictionReason): void {
    const { resting } = this.#options
    if (reason === 'requested') return resting.forget(entry.name)
    if (open) resting.note(entry.name, open)
  }

  /** Who had set something up must connect again: it went with the image. Tell waiters first. */
  #sessionsLost(tenant: LiveTenant): void {
    const { counters, log } = this.#options
    if (!dismissUsers(tenant)) return
    counters.sessionsLost++
    log.warn('the sessions of a napping tenant were lost', {
      tenant: tenant.entry.name,
    })
  }

  imageMoved(tenant: LiveTenant, to: 'asleep' | 'cold'): void {
    const { counters, keepWarm, event } = this.#options
    counters.imagesMoved[to]++
    keepWarm.left(tenant.entry.name)
    if (to === 'cold') this.#sessionsLost(tenant)
    event({ type: 'imageMoved', tenant: tenant.entry, to })
  }

  cleanUp(tenant: LiveTenant, what: CleanUp): void {
    const { mover, event } = this.#options
    try {
      mover.cleanUp(tenant, what)
    } catch (error) {
      return void this.lose(tenant, error)
    }
    event({ type: 'cleanedUp', tenant: tenant.entry })
  }

  maintain(tenant: LiveTenant): void {
    const { upkeep, counters, event, resting } = this.#options
    const { slot, open, progress } = tenant
    assert(slot && open && progress, 'only a loaded tenant is maintained')
    let more: boolean
    try {
      more = upkeep.step(progress, slot, open) || this.#dropOrphans(tenant, slot, open)
    } catch (error) {
      return void this.lose(tenant, error)
    }
    counters.maintenanceSteps++
    if (!more) resting.note(tenant.entry.name, open)
    event({ type: 'maintained', tenant: tenant.entry, more, notBeforeMs: progress.notBeforeMs })
  }

  /** When all else is done. */
  #dropOrphans({ sessions }: LiveTenant, slot: Slot, open: OpenTenant): boolean {
    const mayBeMore = dropOrphans(slot, sessions.temporarySchemas(slot))
    commitIfDue(open.files, slot.transactionStatus)
    return mayBeMore
  }

  /**
   * One step of the upkeep of a tenant, however short its rest and however little there is to be
   * checkpointed. False: nothing is left to be done. True also if it is not awake, or in use.
   */
  maintainNow({ entry, progress }: LiveTenant): boolean {
    const { counters, event } = this.#options
    const { maintenanceSteps } = counters
    if (progress) progress.checkpointBytes = 1
    event({ type: 'tick', upkeepOf: entry })
    return counters.maintenanceSteps === maintenanceSteps || entry.maintenanceDue
  }

  /**
   * Something threw for a slot, or it was taken: neither its memory nor the open files are to be
   * trusted.
   */
  lose(tenant: LiveTenant, error: unknown): PgnapError {
    const { log, counters, upkeep, onLost } = this.#options
    const slot = tenant.entry.slot
    assert(slot, 'only a tenant in a slot can lose it')
    // It was lent, and others needed the room: nothing has gone wrong.
    const isTaken = tenant.slot?.lost === true
    const failure = batchFailure(isTaken ? (error ?? lost()) : error)
    if (isTaken) counters.imagesMoved.cold++
    else {
      log.warn('a slot was lost', { tenant: tenant.entry.name, code: failure.code, error })
      counters.slotsLost++
      counters.errors.record(failure.sqlState)
    }
    if (tenant.progress) upkeep.lose(tenant.progress)
    const { holder } = tenant.entry
    const told = [...tenant.clients].find((client) => client.entry === holder)
    const others = isTaken
      ? tenant.sessions.taken(told, tenant.slot?.remains)
      : tenant.sessions.lose(told)
    this.#unload(tenant)
    queueMicrotask(() => {
      const why = isTaken ? sessionTaken() : sessionEnded(failure)
      for (const client of others) client.dismiss(why)
    })
    onLost({ slot, error: failure, isQuiet: error === undefined })
    return failure
  }

  /**
   * Tenants whose memory others have got while nothing ran in it are to be loaded anew. To be
   * called when time has passed, before anything is decided: a batch that has waited would be run
   * where nothing is. It may be the end of a tenant's entry, so not for an event about one.
   */
  noticeTaken(): void {
    const { slots, tenants } = this.#options
    for (const entry of slots.taken()) {
      const { tenant } = entry
      // A slot that is given up is its tenant's no more; of one in use its user is told.
      if (tenant?.slot !== entry || isRunning(tenant.holder)) continue
      tenants.ifKnown(tenant, (live) => this.lose(live, undefined))
    }
  }

  /** Forgets what is loaded for a tenant and lets go of its store; nothing is written. */
  #unload(tenant: LiveTenant): void {
    const { open } = tenant
    if (open) this.#options.resting.closing(tenant.entry.name, open)
    tenant.slot = undefined
    tenant.fork = undefined
    tenant.open = undefined
    tenant.progress = undefined
    tenant.sessions.clear()
    open?.close()
  }
}

function isRunning(holder: Holder | undefined): boolean {
  return holder instanceof ClientEntry ? holder.phase === 'running' : holder !== undefined
}
