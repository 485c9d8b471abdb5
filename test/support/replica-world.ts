/**
 * A home that computes call, on a medium and over calls that fail on order, and computes that have
 * files open as a slot would have them.
 */
import { fromUtf8, utf8 } from '../../src/base/bytes.ts'
import { ManualClock } from '../../src/base/clock.ts'
import type { Random } from '../../src/base/random.ts'
import { FaultyMedium, type MediumFault } from '../../src/medium/faulty-medium.ts'
import type { Medium } from '../../src/medium/medium.ts'
import { FaultyHome } from '../../src/replica/faulty-home.ts'
import { LOAD_STRATEGIES, type LoadName } from '../../src/replica/load-strategy.ts'
import { LocalTenant } from '../../src/replica/local-tenant.ts'
import { StoreHome } from '../../src/replica/store-home.ts'
import type { ComputeTenant } from '../../src/replica/compute-tenant.ts'
import { TenantReplica } from '../../src/replica/tenant-replica.ts'
import { WRITE_STRATEGIES, type WriteName } from '../../src/replica/write-back.ts'
import { Store } from '../../src/store/store.ts'
import { Template } from '../../src/store/template.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { storeOptions } from './store-options.ts'

/** Where a home has its store. */
export interface HomePlace {
  /** The same place each time; what is open is closed before. Empty at first. */
  open(): Medium
}

export const template: Template = Template.empty()
export const FILE = 'log'

/** A store that computes call, and that can fail or be made anew. */
export class HomeUnderTest {
  readonly clock: ManualClock = new ManualClock()
  readonly calls: FaultyHome = new FaultyHome(() => this.home)
  readonly #place: HomePlace
  readonly #plan: MediumFault[] = []
  #medium: FaultyMedium
  store: Store
  home: StoreHome

  constructor(place: HomePlace) {
    this.#place = place
    this.#medium = new FaultyMedium(place.open(), this.#plan)
    this.store = Store.open(this.#medium, storeOptions(template, { clock: this.clock }))
    this.home = new StoreHome(this.store)
  }

  /** The object ends and is made anew; what it had in memory is gone. */
  restart(): void {
    this.store.close()
    this.#plan.length = 0
    this.#medium = new FaultyMedium(this.#place.open(), this.#plan)
    this.store = Store.open(this.#medium, storeOptions(template, { clock: this.clock }))
    this.home = new StoreHome(this.store)
  }

  /** The next commit of the storage fails, before it is there or after. */
  failCommit(moment: MediumFault['moment']): void {
    const nth = this.#medium.count('commit') + 1
    this.#plan.push({ operation: 'commit', nth, moment, effect: 'fail' })
  }

  /** What is in the store, read from it. */
  text(): string {
    using files = TenantFiles.open(this.store.view(), { template, clock: this.clock })
    return textIn(files)
  }
}

/** One compute, and the files it has open: what a slot would have. */
export class Compute {
  readonly tenant: ComputeTenant
  readonly #world: HomeUnderTest
  #files: TenantFiles | undefined
  #generation: string | undefined

  constructor(world: HomeUnderTest, load: LoadName, write: WriteName, random: Random) {
    this.#world = world
    const { clock } = world
    this.tenant =
      load === 'lazy'
        ? new LocalTenant(world.store)
        : new TenantReplica({
            clock,
            random,
            load: LOAD_STRATEGIES[load],
            write: WRITE_STRATEGIES[write],
            template: async () => template,
            flushWithin: () => {},
          })
  }

  async read(staleAllowed = false): Promise<{ text: string; staleMs: number | undefined }> {
    const { staleMs } = await this.tenant.freshen(this.#world.calls, { staleAllowed })
    return { text: textIn(this.#open()), staleMs }
  }

  /** Appends; kept when it may be acknowledged. */
  async append(token: string): Promise<void> {
    await this.tenant.freshen(this.#world.calls)
    await this.appendUnchecked(token)
  }

  /** Without asking what the home has, as whoever has asked a moment ago. */
  async appendUnchecked(token: string): Promise<void> {
    const files = this.#open()
    write(files, `${textIn(files)}${token} `)
    try {
      await this.tenant.commitAhead(() => void files.commit())
    } catch (error) {
      this.crash()
      throw error
    }
  }

  /** What it has run ends, and is gone. */
  crash(): void {
    this.#files?.close()
    this.#files = undefined
    this.tenant.leave()
  }

  flush(): Promise<void> {
    return this.tenant.flush(this.#world.calls)
  }

  /** Changes files and commits nothing: it is in the middle of a transaction. */
  async scribble(): Promise<void> {
    await this.tenant.freshen(this.#world.calls)
    write(this.#open(), 'not committed')
  }

  #open(): TenantFiles {
    const { generation } = this.tenant
    if (this.#files && this.#generation === generation) return this.#files
    this.#files?.close()
    this.#generation = generation
    this.#files = TenantFiles.open(this.tenant.view(), {
      template: this.tenant.template,
      clock: this.#world.clock,
    })
    return this.#files
  }
}

function textIn(files: TenantFiles): string {
  const node = files.lookup(files.root, FILE)
  if (!node) return ''
  const bytes = new Uint8Array(node.size)
  files.read(node, bytes, 0, node.size, 0)
  return fromUtf8(bytes)
}

function write(files: TenantFiles, text: string): void {
  const node = files.lookup(files.root, FILE) ?? files.create(files.root, FILE, 0o100600)
  const bytes = utf8(text)
  files.write(node, bytes, 0, bytes.length, 0)
}

/** While nothing is done, time passes. */
export async function settled(clock: ManualClock, work: Promise<unknown>): Promise<void> {
  let done = false
  const ended = work.then(
    () => (done = true),
    () => (done = true),
  )
  while (!done) {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve()
    clock.advance(50)
  }
  await ended
}
