/**
 * Answers that may not have arrived, by the name of their question: whoever has not heard asks
 * again by another way, and is told what came of it, instead of having it done twice. The oldest go
 * when there are too many; the newest stays, however large it is, and so does every question that
 * is still being worked on.
 *
 * Of an answer that has gone the name stays for longer than anybody waits before asking again:
 * whoever asks then is told that nobody knows. It must never take such a question for one that was
 * not heard.
 */
import type { Clock } from '../../../base/clock.ts'
import { LIMITS } from '../../../base/limits.ts'
import { outcomeUnknown } from '../../../replica/store-home.ts'
import type { Outcome } from '../outcome.ts'
import { toRemote } from '../../remote-error.ts'

interface Remembered<Result> {
  readonly outcome: Promise<Outcome<Result>>
  /** Undefined while it is being worked on. */
  byteLength: number | undefined
}

export class RememberedAnswers<Result> {
  /** Of this memory; another one knows nothing of what was asked here. */
  readonly memoryId: string = crypto.randomUUID()
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #answers = new Map<string, Remembered<Result>>()
  #bytes = 0
  /** Questions whose answers have gone, and until when that is known; the oldest first. */
  readonly #gone = new Map<string, number>()
  /** Until then a name that is not known may be one of those that there was no room for. */
  #namesMissingUntilMs = -Infinity

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock
  }

  /** What came of a question; `work` is done if it was never asked. */
  ask(requestId: string, work: () => Promise<Outcome<Result>>): Promise<Outcome<Result>> {
    const known = this.#answers.get(requestId)
    if (known) return known.outcome
    if (this.#gone.has(requestId)) return unknown('its answer is not kept any more')
    const entry = { outcome: work(), byteLength: undefined }
    this.#answers.set(requestId, entry)
    return entry.outcome
  }

  /** The answer to a question is on its way, and weighs so much. */
  answered(requestId: string, byteLength: number): void {
    const entry = this.#answers.get(requestId)
    if (!entry) return
    this.#bytes += byteLength - (entry.byteLength ?? 0)
    entry.byteLength = byteLength
    for (const [oldest, { byteLength: bytes }] of this.#answers) {
      if (this.#bytes <= LIMITS.rememberedAnswerBytes) return
      if (bytes === undefined || oldest === requestId) continue
      this.#answers.delete(oldest)
      this.#bytes -= bytes
      this.#keepName(oldest)
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
    if (memoryId !== this.memoryId) return unknown('the compute that was asked has ended')
    const mayBeGone = this.#clock.monotonicMs() < this.#namesMissingUntilMs
    if (mayBeGone && !this.#answers.has(requestId)) return unknown('too many answers have gone')
    return this.ask(requestId, work)
  }

  #keepName(requestId: string): void {
    const nowMs = this.#clock.monotonicMs()
    this.#gone.set(requestId, nowMs + LIMITS.rememberedNameMs)
    for (const [oldest, untilMs] of this.#gone) {
      const isOver = untilMs <= nowMs
      if (!isOver && this.#gone.size <= LIMITS.rememberedNamesMax) return
      this.#gone.delete(oldest)
      if (!isOver) this.#namesMissingUntilMs = untilMs
    }
  }
}

function unknown<Result>(detail: string): Promise<Outcome<Result>> {
  return Promise.resolve({ error: toRemote(outcomeUnknown(detail)) })
}
