/**
 * The list of all tenants, page by page. A folder has no order, so a page of one would have to read
 * all of it: with 100,000 tenants 100 ms and more, and for 30 of them the thread that everybody's
 * connections come through would be held. So the first page reads the names, giving way all the
 * time (1 ms at most), and those that follow take them from memory. A start reads nothing, and a
 * server that nobody asks keeps nothing.
 *
 *     nothing known --page()--> the folder is read --> names are known, fresh
 *           ^                                            | freshMs
 *           |          <-- page() reads them anew, --  names are known, old
 *           |              and answers from the old      | freshMs
 *           +--------------------------------------------+
 *
 * What this server makes and removes it tells at once (`made`, `removed`), also while the folder is
 * being read. So the list is exact but for files that somebody puts there by hand: those it has
 * after two times `freshMs`, which is longer the more names there are to be read. Files taken away
 * by hand it has at once, since the facts of each tenant are read for each page.
 *
 * Of more names than are kept at most, a stretch is known: those that come after `from`, as far as
 * they go. A page beyond it reads the folder again.
 */
import { assert } from '../../base/assert.ts'
import type { Clock, Timer } from '../../base/clock.ts'
import type { TenantName } from '../../base/ids.ts'
import { LIMITS } from '../../base/limits.ts'
import type { TenantFacts, TenantList, TenantPage } from '../../router/directory.ts'
import { NameSorter } from '../../router/name-sorter.ts'
import type { SortedNames } from '../../router/sorted-names.ts'
import type { TenantWatcher } from './shard/shard-api.ts'
import type { TenantFolder } from './tenant-folder.ts'

export interface ListedTenantsOptions {
  readonly folder: Pick<TenantFolder, 'names' | 'find'>
  readonly clock: Clock
  /** Default: `LIMITS.tenantNamesKeptMax`. */
  readonly namesKeptMax?: number
}

/** Reading a name costs about 2 us: less than a hundredth of the thread, however often one asks. */
const FRESH_MS_PER_NAME = 0.3
const FRESH_MS_MAX = 60_000
/** Facts of one tenant: four questions to the file system, about 20 us. */
const FACTS_PER_TURN = 50

/** What is known of the folder. */
interface Stretch {
  /** Of the names that come after this one, */
  readonly from: string
  readonly names: SortedNames<TenantName>
  /** all; otherwise those up to the last one. */
  readonly complete: boolean
  readonly freshUntilMs: number
  readonly forget: Timer
}

export class ListedTenants implements TenantList, TenantWatcher {
  readonly #options: ListedTenantsOptions
  #known: Stretch | undefined
  #reading: Promise<void> | undefined
  /** What came and went while the folder was being read; undefined once something was missed. */
  #meanwhile: Map<TenantName, 'add' | 'delete'> | undefined

  constructor(options: ListedTenantsOptions) {
    this.#options = options
  }

  made(tenant: TenantName): void {
    this.#change(tenant, 'add')
  }

  removed(tenant: TenantName): void {
    this.#change(tenant, 'delete')
  }

  missed(): void {
    this.#meanwhile = undefined
    this.#forget()
  }

  async page(options: { readonly after?: string; readonly limit: number }): Promise<TenantPage> {
    const { after = '', limit } = options
    const { folder, namesKeptMax = LIMITS.tenantNamesKeptMax } = this.#options
    assert(limit >= 0 && limit < namesKeptMax, 'what is kept holds a page and tells of the next')
    // What a shard said before it answered our client has arrived, but perhaps was not yet heard.
    await this.#turn()
    const names = await this.#namesAfter(after, limit + 1)
    const page = names.slice(0, limit)
    const tenants: TenantFacts[] = []
    for (const [index, name] of page.entries()) {
      if (index % FACTS_PER_TURN === FACTS_PER_TURN - 1) await this.#turn()
      const facts = folder.find(name)
      if (facts) tenants.push(facts)
      else this.removed(name)
    }
    return { tenants, next: names.length > limit ? page.at(-1) : undefined }
  }

  async #namesAfter(after: string, count: number): Promise<TenantName[]> {
    // Whoever is the first most likely asks for a stretch that holds them all.
    let from = this.#known ? after : ''
    for (;;) {
      const known = this.#known
      const names = known && namesAfter(known, after, count)
      if (names) {
        if (known.freshUntilMs < this.#options.clock.monotonicMs()) this.#readAhead(known.from)
        return names
      }
      await this.#readOnce(from)
      from = after
    }
  }

  /** If it fails, so will whoever needs the names. */
  #readAhead(from: string): void {
    this.#readOnce(from).catch(() => this.#forget())
  }

  /** The one reading at a time; perhaps that of somebody else, from somewhere else. */
  #readOnce(from: string): Promise<void> {
    this.#reading ??= this.#read(from).finally(() => (this.#reading = undefined))
    return this.#reading
  }

  async #read(from: string): Promise<void> {
    const { folder, clock, namesKeptMax = LIMITS.tenantNamesKeptMax } = this.#options
    const meanwhile = (this.#meanwhile = new Map<TenantName, 'add' | 'delete'>())
    let readCount = 0
    const giveWay = (): Promise<void> => this.#turn()
    const sorter = new NameSorter<TenantName>({ countMax: namesKeptMax, giveWay })
    try {
      for await (const names of folder.names()) {
        readCount += names.length
        await sorter.add(names.filter((name) => name > from))
      }
    } catch (error) {
      this.#meanwhile = undefined
      throw error
    }
    const names = await sorter.finish()
    // A shard has died: who came and went is not known.
    if (this.#meanwhile !== meanwhile) return
    this.#meanwhile = undefined
    this.#forget()
    const freshMs = Math.min(FRESH_MS_MAX, FRESH_MS_PER_NAME * readCount)
    this.#known = {
      from,
      names,
      complete: sorter.complete,
      freshUntilMs: clock.monotonicMs() + freshMs,
      forget: clock.setTimer(2 * freshMs, () => this.#forget()),
    }
    for (const [tenant, kind] of meanwhile) this.#change(tenant, kind)
  }

  #change(tenant: TenantName, kind: 'add' | 'delete'): void {
    this.#meanwhile?.set(tenant, kind)
    const known = this.#known
    if (known && reaches(known, tenant)) known.names[kind](tenant)
  }

  #forget(): void {
    this.#known?.forget.cancel()
    this.#known = undefined
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#options.clock.nextTurn(resolve))
  }
}

/** Whether what is known tells about a name like this one. */
function reaches({ names, complete }: Stretch, name: string): boolean {
  return complete || name <= (names.last ?? '')
}

/** The first `count` names after one of them; undefined if it is not known which they are. */
function namesAfter(known: Stretch, after: string, count: number): TenantName[] | undefined {
  if (after < known.from) return undefined
  const names = known.names.after(after, count)
  return known.complete || names.length === count ? names : undefined
}
