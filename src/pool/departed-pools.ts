/**
 * What pools have counted that are not there any more, as one picture of constant size: whoever
 * adds pools up that come and go would else see counters go down. What such a pool had at the time
 * (slots, clients, images) it has no more.
 */
import { Histogram, type HistogramData } from '../base/histogram.ts'
import { addUpSyncDelays } from '../base/sync-delay.ts'
import { addUpErrors } from './error-counts.ts'
import type { PoolStatistics } from './pool-statistics.ts'

type Numbers<Key extends string> = Readonly<Record<Key, number>>

export class DepartedPools {
  #total: PoolStatistics | undefined

  /** A pool has gone. @param last its last picture */
  add(last: PoolStatistics): void {
    const left = withoutPresent(last)
    this.#total = this.#total ? together(this.#total, left) : left
  }

  /** To be added up with those that are there: none, or one. */
  get statistics(): readonly PoolStatistics[] {
    return this.#total ? [this.#total] : []
  }
}

function withoutPresent(last: PoolStatistics): PoolStatistics {
  const { slots, forks, images, keepWarm } = last
  return {
    ...last,
    slots: { ...slots, total: 0, idle: 0, inUse: 0, max: 0, memoryBytes: 0 },
    forks: { ...forks, now: 0 },
    tenants: { cold: 0, waking: 0, awake: 0, draining: 0, napping: 0, asleep: 0 },
    clients: { connected: 0, waiting: 0 },
    tenantsWaitingForSlot: 0,
    images: { ...images, count: 0, bytes: 0 },
    keepWarm: { ...keepWarm, known: 0, pinned: 0 },
  }
}

function together(one: PoolStatistics, other: PoolStatistics): PoolStatistics {
  const { images } = one
  return {
    slots: sums(one.slots, other.slots),
    forks: sums(one.forks, other.forks),
    tenants: sums(one.tenants, other.tenants),
    clients: sums(one.clients, other.clients),
    tenantsWaitingForSlot: one.tenantsWaitingForSlot + other.tenantsWaitingForSlot,
    requests: one.requests + other.requests,
    found: sums(one.found, other.found),
    waits: one.waits + other.waits,
    rejections: one.rejections + other.rejections,
    bootFailures: one.bootFailures + other.bootFailures,
    errors: addUpErrors([one.errors, other.errors]),
    maintenanceSteps: one.maintenanceSteps + other.maintenanceSteps,
    evictions: sums(one.evictions, other.evictions),
    images: {
      count: images.count + other.images.count,
      bytes: images.bytes + other.images.bytes,
      moved: sums(images.moved, other.images.moved),
      sessionsLost: images.sessionsLost + other.images.sessionsLost,
    },
    keepWarm: sums(one.keepWarm, other.keepWarm),
    wakes: {
      napping: merged(one.wakes.napping, other.wakes.napping),
      asleep: merged(one.wakes.asleep, other.wakes.asleep),
      cold: merged(one.wakes.cold, other.wakes.cold),
      new: merged(one.wakes.new, other.wakes.new),
    },
    leave: merged(one.leave, other.leave),
    wait: merged(one.wait, other.wait),
    execution: merged(one.execution, other.execution),
    commit: merged(one.commit, other.commit),
    journal: sums(one.journal, other.journal),
    syncDelay: addUpSyncDelays([one.syncDelay, other.syncDelay]),
  }
}

function sums<Key extends string>(one: Numbers<Key>, other: Numbers<Key>): Record<Key, number> {
  const names = Object.keys(one) as Key[]
  return Object.fromEntries(names.map((name) => [name, one[name] + other[name]])) as Record<
    Key,
    number
  >
}

function merged(one: HistogramData, other: HistogramData): HistogramData {
  const whole = new Histogram()
  whole.merge(one)
  whole.merge(other)
  return whole.toData()
}
