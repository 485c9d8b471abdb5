/**
 * Load strategy `lazy`: a compute that is where the store is. Nothing is loaded ahead; each page is
 * read when Postgres reads it, and a commit is in the store when it returns. There is nothing to
 * buffer and nothing to bring home, so the only way of writing is `sync`.
 */
import { PgnapError } from '../base/errors.ts'
import type { Version } from '../base/ids.ts'
import type { Store } from '../store/store.ts'
import type { Template } from '../store/template.ts'
import type { FileView } from '../store/view.ts'
import type { LoadName } from './load-strategy.ts'
import type { ComputeTenant, Freshened, Loss } from './compute-tenant.ts'
import type { Pending, WriteName } from './write-back.ts'

const NOTHING_PENDING: Pending = { commits: 0, bytes: 0, sinceMs: undefined }

export class LocalTenant implements ComputeTenant {
  readonly pending: Pending = NOTHING_PENDING
  readonly unreachedCount: number = 0
  readonly loss: Loss = { commits: 0, bytes: 0 }
  readonly byteLength = 0
  readonly #store: Store
  /** As the last view has left it. */
  #known: Version
  #moves = 0

  constructor(store: Store) {
    this.#store = store
    this.#known = store.head()
  }

  get template(): Template {
    return this.#store.template
  }

  get pristine(): boolean {
    return this.#store.head() === 0
  }

  get stamp(): string {
    return this.#store.stamp()
  }

  get generation(): string {
    return `${this.#moves}`
  }

  async freshen(): Promise<Freshened> {
    const head = this.#store.head()
    if (head !== this.#known) this.#moves++
    this.#known = head
    return { strategy: 'lazy', how: 'none', rowCount: 0, byteLength: 0, sliceCount: 0 }
  }

  view(): FileView {
    return this.#store.view()
  }

  commitAhead(work: () => void): Promise<void> | undefined {
    const durable = this.#store.commitAhead(work)
    this.#known = this.#store.head()
    return durable
  }

  async flush(): Promise<void> {}

  leave(): void {}
}

/**
 * Refuses what cannot be: pages on demand over calls, or a buffer where nothing is far away.
 * @throws PgnapError NOT_SUPPORTED
 */
export function checkStrategies(load: LoadName, write: WriteName, isLocal: boolean): void {
  if (load === 'lazy' && !isLocal) {
    throw new PgnapError('NOT_SUPPORTED', 'pages cannot be loaded on demand from another object', {
      detail: 'Postgres reads them in the middle of a statement, where nothing can be waited for',
      hint: 'load by "delta", "image" or "snapshot", or ask where the tenant is at home',
    })
  }
  if (load === 'lazy' && write !== 'sync') {
    throw new PgnapError('NOT_SUPPORTED', `with pages on demand nothing is written "${write}"`, {
      hint: 'write "sync": the store is at hand',
    })
  }
}
