/** What a test makes of the calls of a home: they get lost, or its storage fails. */

/** Calls that computes make of a home. */
export type HomeCall = 'fetchRows' | 'deliver'

export interface Fault {
  readonly call: HomeCall
  readonly what: 'request-lost' | 'answer-lost' | 'no-answer' | 'storage'
  left: number
}

/** Of one object. */
export class HomeFaults {
  readonly #storage: DurableObjectStorage
  #fault: Fault | undefined

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage
  }

  /** What happens next. Default: nothing any more */
  set(fault: Fault | undefined): void {
    this.#fault = fault
  }

  async call<Result>(call: HomeCall, work: () => Promise<Result>): Promise<Result> {
    const fault = this.#fault
    if (!fault || fault.call !== call || fault.left === 0) return work()
    fault.left--
    switch (fault.what) {
      case 'request-lost':
        throw new Error('a test has lost this request')
      case 'answer-lost':
        await work()
        throw new Error('a test has lost this answer')
      case 'no-answer':
        return new Promise(() => {})
      case 'storage':
        this.break(true)
        try {
          return await work()
        } finally {
          this.break(false)
        }
    }
  }

  /** The storage fails from now on, or works again. */
  break(isBroken: boolean): void {
    const fail = (): never => {
      throw new Error('disk I/O error: SQLITE_IOERR')
    }
    if (!isBroken) Reflect.deleteProperty(this.#storage, 'transactionSync')
    else {
      const broken = { value: fail, configurable: true }
      Object.defineProperty(this.#storage, 'transactionSync', broken)
    }
  }
}
