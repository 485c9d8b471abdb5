/**
 * A home whose calls get lost on order, for tests and simulations: the request on its way there, or
 * the answer on its way back, which is the case that separates careful code from lucky code.
 */
import type { Delivery, FetchRequest, Home, Receipt, Slice } from './home.ts'
import { unreachable } from './within.ts'

/**
 * What happens to a call. `delay` holds the request back until {@link FaultyHome.release}, after
 * whoever sent it has given up.
 */
export type HomeFault = 'request lost' | 'answer lost' | 'no answer' | 'delay'

/** What a home does, at once. */
export interface HomeWork {
  fetch(request: FetchRequest): Slice
  deliver(delivery: Delivery): Receipt
}

export class FaultyHome implements Home {
  /** Asked at each call. */
  fault: (call: 'fetch' | 'deliver') => HomeFault | undefined = () => undefined
  /** Calls that have been made. */
  readonly calls = { fetch: 0, deliver: 0 }
  readonly #work: () => HomeWork
  #held: (() => void)[] = []

  /** @param work asked for at each call: a home may have been made anew */
  constructor(work: () => HomeWork) {
    this.#work = work
  }

  fetch(request: FetchRequest): Promise<Slice> {
    return this.#call('fetch', () => this.#work().fetch(request))
  }

  deliver(delivery: Delivery): Promise<Receipt> {
    return this.#call('deliver', () => this.#work().deliver(delivery))
  }

  /** Lets requests through that were held back. Nobody hears their answers. */
  release(): void {
    const held = this.#held
    this.#held = []
    for (const work of held) work()
  }

  async #call<Result>(name: 'fetch' | 'deliver', work: () => Result): Promise<Result> {
    this.calls[name]++
    const fault = this.fault(name)
    switch (fault) {
      case undefined:
        return work()
      case 'request lost':
        throw unreachable()
      case 'answer lost':
        attempt(work)
        throw unreachable()
      case 'delay':
        this.#held.push(() => attempt(work))
        throw unreachable()
      case 'no answer':
        return new Promise(() => {})
    }
  }
}

/** Nobody hears of it, whatever comes of it. */
function attempt(work: () => unknown): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof Error)) throw error
  }
}
