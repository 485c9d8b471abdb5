/**
 * Open descriptors as data, each of them once: thousands of tenants at rest have much the same
 * files open at much the same numbers, about seventy of them, and an object for each descriptor of
 * each image would be 6 KB per tenant of a heap that V8 has to walk.
 */

/** An open descriptor of a file of PGDATA. */
export interface Descriptor {
  readonly fd: number
  /** 0: of a device. */
  readonly ino: number
  /** Its path, if it is a device that can be opened anywhere. */
  readonly device?: string
  readonly flags: number
  readonly position: number
}

/** Beyond, all are forgotten: what is in use is kept by whoever uses it, and found no more. */
const KNOWN_MAX = 10_000
/** Numbers of descriptors are below; those of files are whole numbers far below 2^40. */
const FD_MAX = 2 ** 12

export class SharedDescriptors {
  readonly #known = new Map<number, Descriptor>()

  /** One that is equal to this; the same one as last time, as a rule. */
  of({ fd, ino, device, flags, position }: Descriptor): Descriptor {
    const key = ino * FD_MAX + fd
    const known = this.#known.get(key)
    const isKnown =
      known?.fd === fd &&
      known.ino === ino &&
      known.device === device &&
      known.flags === flags &&
      known.position === position
    if (isKnown) return known
    if (this.#known.size >= KNOWN_MAX) this.#known.clear()
    const made = { fd, ino, flags, position, ...(device === undefined ? {} : { device }) }
    this.#known.set(key, made)
    return made
  }
}
