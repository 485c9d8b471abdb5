/** The store of an object whose tenant is run elsewhere: what computes load from and write to. */
import type { Fingerprint } from '../../../base/ids.ts'
import type { Delivery, FetchRequest, HomeState, Receipt, Slice } from '../../../replica/home.ts'
import { HomeUpkeep } from '../../../replica/home-upkeep.ts'
import type { Ahead } from '../../../replica/tenant-replica.ts'
import { StoreHome } from '../../../replica/store-home.ts'
import { Store } from '../../../store/store.ts'
import { Template } from '../../../store/template.ts'
import { workerClock } from '../clock.ts'
import { consoleLog } from '../console-log.ts'
import { DurableSqliteMedium } from '../durable-sqlite-medium.ts'
import type { EngineFacts } from './compute.ts'

export class HomeStore {
  readonly #store: Store
  readonly #home: StoreHome
  readonly #upkeep: HomeUpkeep

  /** @param engine whose tenant a new store is to be */
  constructor(storage: DurableObjectStorage, engine: EngineFacts) {
    const { fingerprint, postgresMajor, templateId } = engine
    this.#store = Store.open(new DurableSqliteMedium(storage), {
      clock: workerClock,
      engine: { fingerprint: fingerprint as Fingerprint, postgresMajor, templateId },
      // No files are opened here.
      templates: { get: (id) => Template.named(id) },
    })
    this.#home = new StoreHome(this.#store)
    this.#upkeep = new HomeUpkeep({
      store: this.#store,
      clock: workerClock,
      onFailure: (error) => consoleLog.warn('the store of a tenant was not tidied', { error }),
    })
  }

  get state(): HomeState {
    return this.#home.state
  }

  /** Whether all that is meant has come. */
  has({ writer, sequence }: Ahead): boolean {
    const last = this.#store.broughtBy(writer)
    return last !== undefined && last.sequence >= sequence
  }

  fetch(request: FetchRequest): Slice {
    return this.#home.fetch(request)
  }

  deliver(delivery: Delivery): Receipt {
    const receipt = this.#home.deliver(delivery)
    this.#upkeep.delivered(receipt.count)
    return receipt
  }

  close(): void {
    this.#store.close()
  }
}
