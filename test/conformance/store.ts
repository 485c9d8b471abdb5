/**
 * What a store must do on every medium: random operations against a model that remembers
 * everything, all retained versions of all layers compared, with reopening, a clock that goes back,
 * branches of past versions, pruning in slices, restoring and dropping; and faults at every
 * operation of a workload.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '../../src/base/clock.ts'
import type { InodeNo, LayerId, PageKey, Version } from '../../src/base/ids.ts'
import type { Random } from '../../src/base/random.ts'
import { SeededRandom } from '../../src/base/random.ts'
import { FaultyMedium } from '../../src/medium/faulty-medium.ts'
import type { MediumFault } from '../../src/medium/faulty-medium.ts'
import type { Medium } from '../../src/medium/medium.ts'
import type { Put } from '../../src/store/commit.ts'
import { encodeRecord } from '../../src/store/inode-record.ts'
import type { KeyRange } from '../../src/store/keys.ts'
import { FIRST_TENANT_INODE, MAIN, chunkKey, recordKey } from '../../src/store/keys.ts'
import { Store } from '../../src/store/store.ts'
import { Template } from '../../src/store/template.ts'
import { storeOptions } from '../support/store-options.ts'

export interface StoreUnderTest {
  /** Opens the same place each time it is called; what is open is closed before. */
  open(): Medium | Promise<Medium>
  /** As of `MediumUnderTest`. */
  readonly settle?: (medium: Medium) => Promise<void>
  /** False: a workload does not close and open it by itself. */
  readonly reopens?: boolean
}

type Content = ReadonlyMap<PageKey, Uint8Array>

/** One layer as the model knows it. */
interface ModelLayer {
  readonly parent: LayerId | undefined
  readonly base: Version
  readonly versions: Map<Version, Content>
  readonly times: [Version, number][]
  floor: Version
}

const FILE = (FIRST_TENANT_INODE + 1) as InodeNo
const CHUNKS = 24
const template: Template = Template.empty()

const record = encodeRecord({
  mode: 0o100600,
  sizeBytes: CHUNKS * 8192,
  baseBytes: 0,
  chunkBytes: 8192,
  modifiedMs: 0,
  parent: 1 as InodeNo,
  name: 'file',
})

class Model {
  readonly layers = new Map<LayerId, ModelLayer>()
  readonly clock: ManualClock
  store: Store
  /** Under the store. */
  #medium: Medium
  readonly #place: StoreUnderTest
  readonly #random: Random
  /** Beside what the disk is to keep free. */
  #roomBytes = Number.POSITIVE_INFINITY
  /** What the commit in flight would make, while it is. */
  pending: { layer: LayerId; content: Content } | undefined

  private constructor(place: StoreUnderTest, random: Random, medium: Medium) {
    this.#place = place
    this.#random = random
    this.clock = new ManualClock()
    this.#medium = medium
    this.store = this.#openStore()
    this.layers.set(MAIN, this.#newLayer(undefined, 0 as Version, this.clock.nowMs()))
  }

  static async open(place: StoreUnderTest, random: Random): Promise<Model> {
    return new Model(place, random, await place.open())
  }

  #openStore(): Store {
    const diskHasRoom = (bytes: number): boolean => bytes < this.#roomBytes
    const options = { ...storeOptions(template, { clock: this.clock }), diskHasRoom }
    return Store.open(this.#medium, options)
  }

  async #reopen(): Promise<void> {
    await this.#place.settle?.(this.#medium)
    this.store.close()
    this.#medium = await this.#place.open()
    this.store = this.#openStore()
  }

  async step(): Promise<void> {
    this.clock.advance(this.#random.below(3) > 0 ? this.#random.below(50) : -this.#random.below(20))
    const ids = [...this.layers.keys()]
    const id = ids[this.#random.below(ids.length)] ?? MAIN
    const layer = this.layer(id)
    const choice = this.#random.below(100)
    if (choice < 70) this.#commit(id, layer)
    else if (choice < 76) this.#branch(id, layer)
    else if (choice < 84) this.#prune(id, layer)
    else if (choice < 87) this.#drop(id)
    else if (choice < 91) this.#restore(id, layer)
    else if (choice < 94 && this.#place.reopens !== false) {
      await this.#reopen()
    }
  }

  layer(id: LayerId): ModelLayer {
    const layer = this.layers.get(id)
    assert.ok(layer)
    return layer
  }

  /** Compares every readable version of every layer, key by key, and what follows from them. */
  check(): void {
    for (const id of this.layers.keys()) this.checkLayer(id)
    assert.deepEqual(this.store.verify(), [])
  }

  checkLayer(id: LayerId): void {
    const layer = this.layer(id)
    const head = this.store.head(id)
    assert.equal(head, Math.max(...layer.versions.keys()))
    const pins = [...this.layers.values()].filter((one) => one.parent === id).map((one) => one.base)
    for (const [version, content] of layer.versions) {
      if (version < layer.floor && !pins.includes(version)) {
        assert.throws(() => this.store.view(id, version), { code: 'VERSION_NOT_RETAINED' })
        continue
      }
      this.#checkContent(id, version, content)
      if (version === head) this.#checkContent(id, undefined, content)
      if (version >= layer.floor) this.#checkChanges(id, version, content)
    }
    this.#checkTime(id, layer)
  }

  #checkContent(id: LayerId, version: Version | undefined, content: Content): void {
    using view = this.store.view(id, version)
    const range = { from: 0 as PageKey, to: chunkKey(FILE, CHUNKS) }
    const rows = new Map(view.readRange(range))
    assert.deepEqual([...rows.keys()].toSorted(order), [...content.keys()].toSorted(order))
    for (const [key, data] of content) {
      const where = `layer ${id} version ${version} key ${key}`
      assert.deepEqual(new Uint8Array(rows.get(key) ?? []), data, `${where}, by range`)
      assert.deepEqual(new Uint8Array(view.read(key) ?? []), data, `${where}, alone`)
    }
    assert.equal(view.read(chunkKey(FILE, CHUNKS + 1)), undefined)
  }

  #checkChanges(id: LayerId, version: Version, then: Content): void {
    const changes = this.store.changesSince(id, version)
    assert.equal(changes.full, false)
    const now = this.layer(id).versions.get(changes.head)
    assert.ok(now)
    for (const key of new Set([...then.keys(), ...now.keys()])) {
      const same = Buffer.compare(then.get(key) ?? Buffer.of(), now.get(key) ?? Buffer.of()) === 0
      if (!same || then.has(key) !== now.has(key))
        assert.ok(changes.keys.has(key), `change of ${key}`)
    }
    if (version === changes.head) assert.equal(changes.keys.size, 0)
  }

  #checkTime(id: LayerId, layer: ModelLayer): void {
    const kept = layer.times.filter(([version]) => version >= layer.floor)
    const first = kept[0]
    assert.ok(first)
    const timeMs = first[1] - 5 + this.#random.below(this.clock.nowMs() - first[1] + 200)
    if (timeMs < first[1]) {
      assert.throws(() => this.store.versionAt(id, timeMs), { code: 'VERSION_NOT_RETAINED' })
    } else {
      const expected = kept.findLast(([, atMs]) => atMs <= timeMs)
      assert.equal(this.store.versionAt(id, timeMs), expected?.[0])
    }
  }

  #commit(id: LayerId, layer: ModelLayer): void {
    const head = this.store.head(id)
    const content = new Map(layer.versions.get(head))
    const deletions: KeyRange[] = []
    if (this.#random.below(6) === 0) {
      const from = chunkKey(FILE, this.#random.below(CHUNKS))
      const to = (from + 1 + this.#random.below(3)) as PageKey
      deletions.push({ from, to })
      for (const key of content.keys()) if (key >= from && key < to) content.delete(key)
    }
    const puts = new Map<PageKey, Uint8Array>([[recordKey(FILE), record]])
    content.set(recordKey(FILE), record)
    for (let count = this.#random.below(5); count > 0; count--) {
      const key = chunkKey(FILE, this.#random.below(CHUNKS))
      const data = this.#bytesAfter(puts.get(key) ?? content.get(key))
      puts.set(key, data)
      content.set(key, data)
    }
    this.pending = { layer: id, content }
    const list: Put[] = [...puts].map(([key, data]) => ({ key, data }))
    const nextInode = (FILE + 1) as InodeNo
    const known = this.store.view(id).nextInode
    const changes = { puts: list, deletions, ...(known < nextInode ? { nextInode } : {}) }
    if (this.#random.below(8) === 0) this.#roomBytes = this.#random.below(3) * 60_000
    const version = this.store.commit(id, head, changes)
    this.done(id, version)
    this.#noteFloor(id, layer, version)
    assert.throws(() => this.store.commit(id, head, changes), { code: 'STORE_FENCED' })
  }

  /** Where there is no room, nothing is kept that nobody stands on. */
  #noteFloor(id: LayerId, layer: ModelLayer, version: Version): void {
    const { floor } = this.store.layers().find((one) => one.id === id) ?? {}
    const isStoodOn = [...this.layers.values()].some((one) => one.parent === id)
    const mayKeep = isStoodOn || this.#roomBytes > 0
    const mustKeep = isStoodOn || this.#roomBytes === Number.POSITIVE_INFINITY
    if (!mustKeep && floor === version) layer.floor = version
    assert.equal(floor, mayKeep ? layer.floor : version)
    this.#roomBytes = Number.POSITIVE_INFINITY
  }

  /** The commit in flight has become a version. */
  done(id: LayerId, version: Version): void {
    const layer = this.layer(id)
    assert.ok(this.pending)
    layer.versions.set(version, this.pending.content)
    const lastMs = layer.times.at(-1)?.[1] ?? 0
    layer.times.push([version, Math.max(lastMs, this.clock.nowMs())])
    this.pending = undefined
  }

  /**
   * Mostly an append, as Postgres writes its log; sometimes something else, short or long or empty.
   */
  #bytesAfter(before: Uint8Array | undefined): Uint8Array {
    if (this.#random.below(3) > 0) {
      const old = before ?? new Uint8Array(0)
      const grown = new Uint8Array(Math.min(8192, old.length + this.#random.below(200)))
      grown.set(old.subarray(0, grown.length))
      for (let at = old.length; at < grown.length; at++) grown[at] = 1 + this.#random.below(255)
      return grown
    }
    const length =
      this.#random.below(4) > 0 ? this.#random.below(900) : 8192 - this.#random.below(3)
    return new Uint8Array(length).fill(1 + this.#random.below(255))
  }

  #branch(id: LayerId, layer: ModelLayer): void {
    if (this.layers.size >= 8) return
    const kept = [...layer.versions.keys()].filter((version) => version >= layer.floor)
    const base = kept[this.#random.below(kept.length)]
    assert.ok(base !== undefined)
    const known = new Set(this.layers.keys())
    const child = this.store.branch(id, { version: base })
    assert.ok(!known.has(child))
    this.layers.set(child, this.#newLayer(id, base, this.clock.nowMs()))
  }

  #prune(id: LayerId, layer: ModelLayer): void {
    const head = this.store.head(id)
    const floor = (layer.floor + this.#random.below(head - layer.floor + 1)) as Version
    const commitsMax = 1 + this.#random.below(4)
    layer.floor = floor
    let result = this.store.pruneLayer(id, floor, commitsMax)
    for (let slices = this.#random.below(4); slices > 0 && result.more; slices--) {
      result = this.store.pruneLayer(id, floor, commitsMax)
    }
  }

  #drop(id: LayerId): void {
    const stoodOn = [...this.layers.values()].some((one) => one.parent === id)
    if (id === MAIN || stoodOn) return
    this.store.drop(id)
    this.layers.delete(id)
    assert.throws(() => this.store.head(id), { code: 'TENANT_UNKNOWN' })
  }

  #restore(id: LayerId, layer: ModelLayer): void {
    const head = this.store.head(id)
    const version = (layer.floor + this.#random.below(head - layer.floor + 1)) as Version
    const content = layer.versions.get(version)
    assert.ok(content)
    this.pending = { layer: id, content }
    this.done(id, this.store.restore(id, version))
  }

  #newLayer(parent: LayerId | undefined, base: Version, nowMs: number): ModelLayer {
    const versions = new Map<Version, Content>([[base, new Map()]])
    return { parent, base, versions, times: [[base, nowMs]], floor: base }
  }
}

const order = (a: number, b: number): number => a - b

/** How much of the suite is run; all of it takes 2 s on `node:sqlite` in memory. */
export interface StoreEffort {
  /** Random histories. Default: 25. */
  readonly histories?: number
  /** Every so many operations of the workload a fault is injected. Default: 1, then more. */
  readonly faultEvery?: number
}

export function storeConformance(
  name: string,
  make: () => StoreUnderTest,
  { histories = 25, faultEvery = 1 }: StoreEffort = {},
): void {
  describe(`store: ${name}`, () => {
    test('every retained version of every layer reads as the model says', async () => {
      await fc.assert(
        fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 120 }), async (seed, steps) => {
          const model = await Model.open(make(), new SeededRandom(seed))
          for (let step = 0; step < steps; step++) {
            await model.step()
            if (step % 10 === 9) model.check()
          }
          model.check()
          model.store.close()
        }),
        { numRuns: histories },
      )
    })

    for (const effect of ['fail', 'stop'] as const) {
      for (const moment of ['before', 'after'] as const) {
        test(`faults all along a workload (${effect} ${moment}) tears nothing`, async () => {
          let nth = 1
          while (await faultAt(make(), { operation: 'any', nth, moment, effect }))
            nth += faultEvery + (nth >> 4)
          assert.ok(nth > 50, 'the workload is long enough to be hit')
        })
      }
    }
  })
}

/** Runs a workload into one fault; false when the workload ended before it. */
async function faultAt(place: StoreUnderTest, fault: MediumFault): Promise<boolean> {
  const inner = await place.open()
  const faulty = new FaultyMedium(inner, [fault])
  let model: Model | undefined
  try {
    model = await Model.open({ open: () => faulty, reopens: false }, new SeededRandom(7))
    for (let step = 0; step < 24; step++) await model.step()
  } catch (error) {
    assert.equal((error as { code?: string }).code, 'STORE_IO', String(error))
    // A store whose medium recovers goes on by itself, loading again what it no longer believes.
    if (fault.effect === 'fail' && model !== undefined) checkAfterFault(model)
    // A process that died without a word left its medium to be opened by another.
    await place.settle?.(inner)
    inner[Symbol.dispose]()
    const medium = await place.open()
    const clock = model?.clock ?? new ManualClock()
    const store = Store.open(medium, storeOptions(template, { clock }))
    assert.deepEqual(store.verify(), [])
    if (model !== undefined) {
      model.store = store
      checkAfterFault(model)
    }
    store.close()
    return true
  }
  model.store.close()
  return false
}

/** What was in flight may be there, wholly, or not; all the rest must be. */
function checkAfterFault(model: Model): void {
  const { store } = model
  for (const [id, layer] of model.layers) {
    const info = store.layers().find((one) => one.id === id)
    if (info === undefined) {
      // Only a drop takes a layer away, and it was in flight.
      model.layers.delete(id)
      continue
    }
    const acknowledged = Math.max(...layer.versions.keys())
    if (info.head !== acknowledged) {
      assert.equal(info.head, acknowledged + 1)
      assert.equal(model.pending?.layer, id)
      model.done(id, info.head)
    }
    layer.floor = info.floor
  }
  model.check()
}
