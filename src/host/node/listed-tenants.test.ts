import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { type Clock, ManualClock } from '../../base/clock.ts'
import type { TenantName } from '../../base/ids.ts'
import { temporaryFolder } from '../../../test/support/temporary-folder.ts'
import { ListedTenants } from './listed-tenants.ts'
import { TenantFolder } from './tenant-folder.ts'

/** A folder whose list is asked for while tenants come and go, through the server and by hand. */
class World implements Disposable {
  readonly #temporary = temporaryFolder()
  readonly clock = new ManualClock()
  readonly listed: ListedTenants
  readonly names = new Set<string>()
  readCount = 0
  /** The folder cannot be read. */
  broken = false
  /** Names looked at since others last had the thread, and most of them so far. */
  heldCount = 0
  heldCountMax = 0
  /** What the next reading of the folder does after its first names. */
  whileReading: () => void = () => {}

  constructor(namesKeptMax?: number) {
    const onDisk = new TenantFolder(this.#temporary.path)
    const clock: Clock = {
      nowMs: () => this.clock.nowMs(),
      monotonicMs: () => this.clock.monotonicMs(),
      setTimer: (delayMs, action) => this.clock.setTimer(delayMs, action),
      nextTurn: (action) => {
        this.heldCount = 0
        setImmediate(action)
      },
    }
    const folder = {
      names: () => this.#names(onDisk),
      find: (name: TenantName) => {
        this.heldCountMax = Math.max(this.heldCountMax, ++this.heldCount)
        return onDisk.find(name)
      },
    }
    this.listed = new ListedTenants({ folder, clock, ...(namesKeptMax ? { namesKeptMax } : {}) })
  }

  async *#names(onDisk: TenantFolder): AsyncGenerator<TenantName[]> {
    this.readCount++
    if (this.broken) throw new Error('EIO')
    for await (const names of onDisk.names()) {
      yield names
      this.whileReading()
      this.whileReading = () => {}
    }
  }

  create(name: string): void {
    this.createByHand(name)
    this.listed.made(name as TenantName)
  }

  delete(name: string): void {
    this.deleteByHand(name)
    this.listed.removed(name as TenantName)
  }

  createByHand(name: string): void {
    writeFileSync(this.#pathOf(name), '')
    this.names.add(name)
  }

  deleteByHand(name: string): void {
    rmSync(this.#pathOf(name), { force: true })
    this.names.delete(name)
  }

  async page(after: string, limit: number): Promise<[readonly string[], string | undefined]> {
    const { tenants, next } = await this.listed.page({ after, limit })
    return [tenants.map(({ name }) => name), next]
  }

  /** What {@link page} is to give. */
  expected(after: string, limit: number): [readonly string[], string | undefined] {
    const names = [...this.names].toSorted().filter((name) => name > after)
    const page = names.slice(0, limit)
    return [page, names.length > limit ? page.at(-1) : undefined]
  }

  #pathOf(name: string): string {
    return join(this.#temporary.path, `${name}.db`)
  }

  [Symbol.dispose](): void {
    this.#temporary[Symbol.dispose]()
  }
}

const name = fc.oneof(
  fc.stringMatching(/^[a-c0-2][a-c0-2_-]{0,2}$/),
  fc.nat({ max: 99 }).map((index) => `tenant-${index}`),
)
const change = fc.record({ kind: fc.constantFrom('create', 'delete'), name } as const)
const page = fc.record({
  kind: fc.constant('page'),
  after: fc.oneof(fc.constant(''), name),
  limit: fc.integer({ min: 1, max: 9 }),
  /** What happens while it is being answered. */
  meanwhile: fc.array(change, { maxLength: 3 }),
} as const)
const pause = fc.record({ kind: fc.constant('pause'), ms: fc.nat({ max: 30 }) } as const)
const restart = fc.record({ kind: fc.constant('missed') } as const)

test('pages are those of a plain sorted set, whatever comes and goes when', async () => {
  let readCount = 0
  let pageCount = 0
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(name, { maxLength: 60, size: 'max' }),
      fc.array(fc.oneof(change, page, page, pause, restart), { maxLength: 30, size: 'max' }),
      fc.constantFrom(10, 25, 1_000),
      async (initial, steps, namesKeptMax) => {
        using world = new World(namesKeptMax)
        for (const each of initial) world.createByHand(each)
        for (const step of steps) {
          if (step.kind === 'pause') world.clock.advance(step.ms)
          else if (step.kind === 'missed') world.listed.missed()
          else if (step.kind !== 'page') world[step.kind](step.name)
          else await checkPage(world, step)
        }
        readCount += world.readCount
        pageCount += steps.filter(({ kind }) => kind === 'page').length
      },
    ),
    { seed: 1 },
  )
  assert.ok(readCount < pageCount, 'most pages have read no folder')
})

async function checkPage(
  world: World,
  { after, limit, meanwhile }: typeof page extends fc.Arbitrary<infer Page> ? Page : never,
): Promise<void> {
  const before = new Set(world.names)
  const asked = world.page(after, limit)
  // Some of it while the folder is being read, if it is, and some while facts are.
  for (const { kind, name } of meanwhile) {
    await turn()
    world[kind](name)
  }
  const [names] = await asked
  const touched = new Set(meanwhile.map(({ name }) => name))
  const untouched = [...before].filter((each) => each > after && !touched.has(each)).toSorted()
  // A page is full of those that were there first, but for those that came or went meanwhile.
  const first = untouched.slice(0, Math.max(0, limit - touched.size))
  assert.deepEqual(names, names.toSorted())
  for (const each of first) assert.ok(names.includes(each), `${each} is listed`)
  for (const each of names) assert.ok(before.has(each) || touched.has(each), `${each} exists`)
  assert.deepEqual(await world.page(after, limit), world.expected(after, limit))
}

test('the folder is read for the first page, not for those that follow', async () => {
  using world = new World()
  for (let index = 0; index < 300; index++) world.createByHand(`t${1_000 + index}`)
  assert.equal(world.readCount, 0, 'nothing is read before somebody asks')
  let after: string | undefined = ''
  const all: string[] = []
  while (after !== undefined) {
    const [names, next]: [readonly string[], string | undefined] = await world.page(after, 10)
    all.push(...names)
    after = next
  }
  assert.deepEqual(all, [...world.names].toSorted())
  assert.equal(world.readCount, 1)
})

test('pages asked for at the same time read the folder once', async () => {
  using world = new World()
  for (let index = 0; index < 300; index++) world.createByHand(`t${1_000 + index}`)
  const starts = ['', 't1100', 't1250', 't1299']
  const pages = await Promise.all(starts.map((after) => world.page(after, 100)))
  assert.deepEqual(
    pages,
    starts.map((after) => world.expected(after, 100)),
  )
  assert.equal(world.readCount, 1)
})

test('a file put there by hand is listed later, one taken away at once no more', async () => {
  using world = new World()
  for (let index = 0; index < 100; index++) world.createByHand(`t${1_000 + index}`)
  await world.page('', 10)
  world.createByHand('first')
  world.deleteByHand('t1000')
  assert.deepEqual((await world.page('', 2))[0], ['t1001'], 'a page is shorter by what has gone')
  assert.deepEqual((await world.page('', 2))[0], ['t1001', 't1002'])
  // Of 100 names, it is fresh for 30 ms; then it is read again beside the page.
  world.clock.advance(31)
  assert.deepEqual((await world.page('', 2))[0], ['t1001', 't1002'])
  while (world.readCount < 2 || (await world.page('', 1))[0][0] !== 'first') await turn()
  // And after twice that time nothing is kept.
  world.createByHand('another')
  world.clock.advance(61)
  assert.deepEqual((await world.page('', 2))[0], ['another', 'first'])
  assert.equal(world.readCount, 3)
})

test('what comes and goes while the folder is read is in the list, or not', async () => {
  using world = new World()
  for (let index = 0; index < 1_200; index++) world.createByHand(`t${1_000 + index}`)
  world.whileReading = () => {
    // Those that have been read already, and those that have not.
    for (let index = 0; index < 1_200; index += 2) world.delete(`t${1_000 + index}`)
    for (let index = 0; index < 600; index++) world.create(`u${1_000 + index}`)
    world.delete('u1001')
    world.create('t1000')
  }
  assert.deepEqual(await world.page('', 999), world.expected('', 999))
  assert.deepEqual(await world.page('t2000', 999), world.expected('t2000', 999))
  assert.equal(world.readCount, 1)
})

test('what was read while a shard died is not believed', async () => {
  using world = new World()
  for (let index = 0; index < 600; index++) world.createByHand(`t${1_000 + index}`)
  world.whileReading = () => {
    world.createByHand('a-made-and-not-told')
    world.listed.missed()
  }
  assert.deepEqual(await world.page('', 10), world.expected('', 10))
  assert.equal(world.readCount, 2)
})

test('of more names than are kept, a stretch is, and the folder is read for each', async () => {
  using world = new World(100)
  for (let index = 0; index < 1_000; index++) world.createByHand(`t${1_000 + index}`)
  let after: string | undefined = ''
  let pageCount = 0
  while (after !== undefined) {
    const page: [readonly string[], string | undefined] = await world.page(after, 10)
    assert.deepEqual(page, world.expected(after, 10))
    after = page[1]
    pageCount++
  }
  assert.equal(pageCount, 100)
  // The last page of a stretch cannot tell whether there is a next one.
  assert.equal(world.readCount, 11)
  assert.deepEqual(await world.page('t1500', 10), world.expected('t1500', 10))
  await assert.rejects(world.page('', 100), /holds a page/)
})

test('a tenant that comes outside of the stretch that is known does not lengthen it', async () => {
  using world = new World(100)
  for (let index = 0; index < 1_000; index++) world.createByHand(`t${1_000 + index}`)
  await world.page('', 10)
  for (const beyond of ['y', 'z']) world.create(beyond)
  assert.deepEqual(await world.page('t1095', 5), world.expected('t1095', 5))
  await world.page('t1500', 10)
  world.create('a')
  assert.deepEqual(await world.page('t1500', 10), world.expected('t1500', 10))
  assert.deepEqual(await world.page('', 10), world.expected('', 10))
})

test('the thread is given away between the facts of a long page', async () => {
  using world = new World()
  for (let index = 0; index < 1_000; index++) world.createByHand(`t${1_000 + index}`)
  const [names] = await world.page('', 999)
  assert.equal(names.length, 999)
  assert.equal(world.heldCountMax, 50)
})

test('a folder that cannot be read fails the page that needs it, and no other', async () => {
  using world = new World()
  for (let index = 0; index < 100; index++) world.createByHand(`t${1_000 + index}`)
  world.broken = true
  await assert.rejects(world.page('', 10), /EIO/)
  world.broken = false
  assert.deepEqual(await world.page('', 10), world.expected('', 10))
  world.broken = true
  world.clock.advance(31)
  assert.deepEqual(await world.page('', 10), world.expected('', 10), 'from what is still known')
  await turn()
  await assert.rejects(world.page('', 10), /EIO/)
  world.broken = false
  assert.deepEqual(await world.page('', 10), world.expected('', 10))
})
