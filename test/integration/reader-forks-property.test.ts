/**
 * Random games of clients that write, read, set, and hold transactions open, against what must be
 * so: whoever reads, in a transaction or not, sees all that had been acknowledged before it asked,
 * nothing that is open or was rolled back, and its own session; and in the end nothing is missing.
 * In some games statements pause anywhere, as those do that take their time.
 */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import fc from 'fast-check'
import type { TenantName } from '../../src/base/ids.ts'
import { LIMITS } from '../../src/base/limits.ts'
import { SeededRandom } from '../../src/base/random.ts'
import type { WasmEngine } from '../../src/engine/wasm-engine.ts'
import type { WasmSlot } from '../../src/engine/wasm-slot.ts'
import type { PoolClient } from '../../src/pool/pool-client.ts'
import { ask, ImageWorld, verifyingEngine } from '../support/image-world.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const READ = `select coalesce(string_agg(tag, ',' order by at), '') || '|'
  || current_setting('application_name') || '|' || extract(epoch from now()) from log`
const TENANT = 'acme' as TenantName

let engine: WasmEngine
/** Of the game that is played, if statements pause in it. */
let pausing: { readonly world: ImageWorld; readonly random: SeededRandom } | undefined
before(async () => {
  engine = await verifyingEngine()
  const createSlot = engine.createSlot.bind(engine)
  engine.createSlot = async () => letPause(await createSlot())
})

/** So long that nobody is trusted to be quick, who would not pause. */
const PAUSE_MS = 2 * LIMITS.quickBatchMs

async function whileAway(): Promise<void> {
  for (let turn = pausing?.random.below(4) ?? 0; turn >= 0; turn--) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  pausing?.world.clock.advance(PAUSE_MS)
}

function letPause(slot: WasmSlot): WasmSlot {
  const interrupt = (): void => {
    if (!pausing || pausing.random.below(3) === 0) return
    const { memory, interruptPendingAt } = slot.interruptFlags
    new Int32Array(memory.buffer)[interruptPendingAt >> 2] = 1
  }
  slot.pauseHost = {
    wantsPause: () => pausing !== undefined && pausing.random.below(2) === 0,
    leave: () => {},
    goOn: interrupt,
    end: (answer) => answer,
    awayMs: 0,
  }
  const run = slot.runPausing.bind(slot)
  slot.runPausing = (messages, client, others, goesOn) => {
    interrupt()
    return run(messages, client, others, async () => {
      const turn = goesOn?.()
      await whileAway()
      await turn
    })
  }
  return slot
}

class Player {
  readonly client: PoolClient
  readonly name: string
  /** Tags that its open transaction has written. */
  open: string[] | undefined
  /** When that began, once it has been asked. */
  openSince: string | undefined
  setting = ''
  busy: Promise<void> | undefined

  constructor(client: PoolClient, name: string) {
    this.client = client
    this.name = name
  }
}

class Game {
  readonly world: ImageWorld
  readonly players: Player[]
  readonly acknowledged: string[] = []
  readonly #random: SeededRandom
  readonly #other: TenantName
  #tags = 0
  /** What has been committed, as each read has seen it. */
  readonly #seen: string[][] = []
  readonly #failures: unknown[] = []

  constructor(world: ImageWorld, seed: number) {
    this.world = world
    this.#random = new SeededRandom(seed)
    world.newTenant(TENANT)
    this.#other = world.newTenant('other')
    this.players = ['one', 'two', 'three', 'four'].map(
      (name) => new Player(world.pool.connect(TENANT), name),
    )
  }

  async step(): Promise<void> {
    const player = this.players[this.#random.below(this.players.length)]
    assert.ok(player)
    const luck = this.#random.below(20)
    if (luck === 0) this.#nap()
    else if (luck === 1) void this.world.ask(this.#other, 'select 1').catch(() => {})
    else if (!player.busy) this.#start(player, this.#move(player))
    await this.turn()
  }

  /** Everybody ends what is open. */
  async end(): Promise<void> {
    while (this.players.some(({ busy, open }) => (busy ?? open) !== undefined)) {
      for (const player of this.players) {
        if (player.open && !player.busy) this.#start(player, this.#commit(player))
      }
      await this.turn(5)
    }
    const all = await this.#driven(this.#read(this.players[0] ?? assert.fail()))
    assert.deepEqual(all.toSorted(), this.acknowledged.toSorted(), 'nothing is lost')
    for (const tags of this.#seen) assert.deepEqual(tags, all.slice(0, tags.length), 'nor undone')
    for (const { client } of this.players) client.close()
  }

  /** Time goes on until it is done. */
  async #driven<Result>(work: Promise<Result>): Promise<Result> {
    let isOver = false
    const ended = work.finally(() => (isOver = true))
    ended.catch(() => {})
    while (!isOver) await this.turn(5)
    return ended
  }

  async turn(ms = this.#random.below(3)): Promise<void> {
    this.world.clock.advance(ms)
    for (let round = 0; round < 4; round++) {
      this.world.clock.advance(0)
      await new Promise((resolve) => setImmediate(resolve))
    }
    if (this.#failures.length > 0) throw this.#failures[0]
  }

  #start(player: Player, move: Promise<void>): void {
    player.busy = move
      .catch((error: unknown) => void this.#failures.push(error))
      .finally(() => (player.busy = undefined))
  }

  #move(player: Player): Promise<void> {
    const luck = this.#random.below(10)
    if (player.open && luck < 3) return this.#commit(player)
    if (player.open && luck < 4) return this.#rollBack(player)
    if (luck < (player.open ? 9 : 2)) return this.#write(player)
    if (luck < 3) return this.#set(player)
    if (luck < 5 && !player.open) return this.#begin(player)
    return this.#read(player).then(() => {})
  }

  async #read(player: Player): Promise<string[]> {
    const seenBefore = [...this.acknowledged]
    const own = player.open ?? []
    const [list = '', setting, now] = ((await ask(player.client, READ)) ?? '').split('|')
    if (player.open) assert.equal(now, (player.openSince ??= now), 'time stands still in it')
    const tags = list === '' ? [] : list.split(',')
    assert.equal(setting, player.setting, 'its own session')
    assert.deepEqual(tags.splice(tags.length - own.length), own, 'its own transaction')
    const missing = seenBefore.filter((tag) => !tags.includes(tag))
    assert.deepEqual(missing, [], 'all that was acknowledged')
    this.#seen.push(tags)
    return tags
  }

  async #write(player: Player): Promise<void> {
    const tag = `t${++this.#tags}`
    const sql = `insert into log(at, tag) select count(*), '${tag}' from log`
    await ask(player.client, sql)
    if (player.open) player.open.push(tag)
    else this.acknowledged.push(tag)
  }

  async #set(player: Player): Promise<void> {
    const value = `${player.name} ${++this.#tags}`
    if (player.open) return
    await ask(player.client, `set application_name = '${value}'`)
    player.setting = value
  }

  async #begin(player: Player): Promise<void> {
    await ask(player.client, 'begin')
    player.open = []
  }

  async #commit(player: Player): Promise<void> {
    const tags = player.open ?? []
    const chains = this.#random.below(2) === 0
    await ask(player.client, chains ? 'commit and chain' : 'commit')
    this.acknowledged.push(...tags)
    player.open = chains ? [] : undefined
    player.openSince = undefined
  }

  async #rollBack(player: Player): Promise<void> {
    await ask(player.client, 'rollback')
    player.open = player.openSince = undefined
  }

  #nap(): void {
    // Whoever is in the middle of something stays.
    try {
      this.world.pool.nap(TENANT)
    } catch {
      assert.notEqual(this.world.pool.phaseOf(TENANT), 'napping')
    }
  }
}

test('readers see what was acknowledged and nothing else, whatever happens', async () => {
  let reads = 0
  const game = fc.record({
    seed: fc.integer(),
    steps: fc.integer({ min: 40, max: 160 }),
    slots: fc.constantFrom(1, 2, 3),
    pauses: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(game, async ({ seed, steps, slots, pauses }) => {
      using folder = temporaryFolder()
      const limits = { slotsPerShard: slots }
      const world = new ImageWorld({ engine, path: folder.path, limits })
      pausing = pauses ? { world, random: new SeededRandom(seed) } : undefined
      const played = new Game(world, seed)
      const [first] = played.players
      assert.ok(first)
      await ask(first.client, 'create table log(at int, tag text)')
      for (let step = 0; step < steps; step++) await played.step()
      await played.end()
      const { forks } = world.pool.statistics()
      assert.equal(forks.withheld, 0, 'who only reads is answered')
      reads += forks.reads
      await world.pool.drain()
    }),
    { numRuns: 25 },
  )
  assert.ok(reads > 50, `forks are used: ${reads}`)
})
