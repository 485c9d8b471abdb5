/**
 * One life of an object, and what the life before has left in memory. The platform puts an
 * object away that nobody has asked for some ten seconds, and makes another one of it when somebody
 * does; its isolate, and with it the tenant's image, usually lives on.
 *
 * What is handed over is used only if the store is at the very stamp that it had (pool/
 * tenant-mover.ts): whatever has written in between, in this isolate or another, has changed it.
 */
import type { TenantName } from '../../base/ids.ts'
import type { ImageStore, StoredImage } from '../../pool/tenant-source.ts'

/** The newest life of each object that has its tenant in memory, by the object's id. */
const newest = new Map<string, Incarnation>()

export class Incarnation {
  /** What there is of the life before, for the pool of this one. Nothing is ever kept on disk. */
  readonly images: ImageStore = {
    keepsAny: false,
    take: (tenant) => {
      const former = this.#forgetFormer()
      return former && former.#handOver(tenant)
    },
    write: async () => false,
    remove: () => void this.#forgetFormer(),
    letGo: () => {},
  }
  readonly #id: string
  readonly #handOver: (tenant: TenantName) => StoredImage | undefined
  #former: Incarnation | undefined

  /** @param handOver the tenant's memory, if it is at rest: it is not used any more afterwards */
  constructor(id: string, handOver: (tenant: TenantName) => StoredImage | undefined) {
    this.#id = id
    this.#handOver = handOver
  }

  /** It has got a place for its tenant's memory, and is about to ask for what was left. */
  begin(): void {
    const before = newest.get(this.#id)
    if (before !== this) this.#former = before
    newest.set(this.#id, this)
  }

  /** Nothing is left of its tenant's memory. Touches memory only. */
  end(): void {
    if (newest.get(this.#id) === this) newest.delete(this.#id)
  }

  #forgetFormer(): Incarnation | undefined {
    const former = this.#former
    this.#former = undefined
    return former
  }
}
