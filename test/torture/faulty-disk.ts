/**
 * A disk that fails once: counts the operations of all media opened on it, as if they were one, and
 * hands the planned fault to the medium on which it falls. After it has struck, the disk is sound.
 */
import {
  FaultyMedium,
  type MediumFault,
  type MediumOperation,
} from '../../src/medium/faulty-medium.ts'
import type { Medium } from '../../src/medium/medium.ts'

export class FaultyDisk {
  readonly #fault: MediumFault | undefined
  readonly #media: FaultyMedium[] = []

  constructor(fault?: MediumFault) {
    this.#fault = fault
  }

  /** Puts the disk under a medium. */
  open(inner: Medium): FaultyMedium {
    const fault = this.#fault
    const left = fault ? fault.nth - this.count(fault.operation) : 0
    const medium = new FaultyMedium(inner, fault && left > 0 ? [{ ...fault, nth: left }] : [])
    this.#media.push(medium)
    return medium
  }

  /** Operations so far. */
  count(operation: MediumOperation | 'any' = 'any'): number {
    return this.#media.reduce((sum, medium) => sum + medium.count(operation), 0)
  }

  /** Whether the fault has struck. */
  get hasFailed(): boolean {
    return this.#fault !== undefined && this.count(this.#fault.operation) >= this.#fault.nth
  }
}
