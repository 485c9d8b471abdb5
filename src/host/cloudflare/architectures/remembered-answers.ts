/**
 * Answers that may not have arrived, by the name of their question: whoever has not heard asks
 * again by another way, and is told what came of it, instead of having it done twice. The oldest go
 * when there are too many; the newest stays, however large it is.
 */
import { LIMITS } from '../../../base/limits.ts'
import { outcomeUnknown } from '../../../replica/store-home.ts'
import type { Outcome } from '../outcome.ts'
import { toRemote } from '../../remote-error.ts'

interface Remembered<Result> {
  readonly outcome: Promise<Outcome<Result>>
  /** 0 while it is being worked on. */
  byteLength: number
}

export class RememberedAnswers<Result> {
  /** Of this memory; another one knows nothing of what was asked here. */
  readonly memoryId: string = crypto.randomUUID()
  readonly #answers = new Map<string, Remembered<Result>>()
  #bytes = 0

  /** What came of a question; `work` is done if it was never asked. */
  ask(requestId: string, work: () => Promise<Outcome<Result>>): Promise<Outcome<Result>> {
    const known = this.#answers.get(requestId)
    if (known) return known.outcome
    const entry = { outcome: work(), byteLength: 0 }
    this.#answers.set(requestId, entry)
    return entry.outcome
  }

  /** The answer to a question is on its way, and weighs so much. */
  answered(requestId: string, byteLength: number): void {
    const entry = this.#answers.get(requestId)
    if (!entry) return
    this.#bytes += byteLength - entry.byteLength
    entry.byteLength = byteLength
    for (const [oldest, { byteLength: bytes }] of this.#answers) {
      if (this.#bytes <= LIMITS.rememberedAnswerBytes || oldest === requestId) return
      this.#answers.delete(oldest)
      this.#bytes -= bytes
    }
  }

  /**
   * What came of a question that was asked of the memory `memoryId`, and is asked again. Whether it
   * was heard there nobody knows if that has ended.
   */
  again(
    { requestId, memoryId }: { readonly requestId: string; readonly memoryId: string },
    work: () => Promise<Outcome<Result>>,
  ): Promise<Outcome<Result>> {
    if (memoryId === this.memoryId) return this.ask(requestId, work)
    const error = outcomeUnknown('the compute that was asked has ended')
    return Promise.resolve({ error: toRemote(error) })
  }
}
