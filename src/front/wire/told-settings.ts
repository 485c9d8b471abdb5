/**
 * What a client has been told of its settings (ParameterStatus), so that it is told only news. A
 * server does so by what it has reported last; the backend here reports whatever was set, if only
 * to what it was, or inside of a statement (an index is made under a search path of its own).
 *
 * It stands in the way of every answer, so it looks at the end of one only: reports come right
 * before ReadyForQuery. And it must cost a client nothing that has the settings that all have.
 *
 * Source: Postgres 18, guc.c, ReportGUCOption; postgres.c, PostgresMain.
 */
import { concatBytes } from '../../base/bytes.ts'
import { BodyReader } from './body-reader.ts'
import { BACKEND, FRAME_HEAD_BYTES, frameEnd, int32At } from './frame.ts'
import { REPORTED_SETTINGS } from './greeting.ts'

const READY_BYTES = 6
/** Zeros in front of a name, at most: those of a length. */
const LENGTH_BYTES = 4

export class ToldSettings {
  /** Those of which it was told something else than all are. */
  #own: Map<string, string> | undefined

  /** Undefined if it has no such setting. */
  valueOf(name: string): string | undefined {
    return this.#own?.get(name) ?? REPORTED_SETTINGS[name]
  }

  /** `messages` go to the client as they are. */
  tell(messages: Uint8Array): void {
    this.#walk(messages, () => {})
  }

  /**
   * An answer of the backend without reports that are no news; the same one if there are none.
   * @param isPipeline it holds more than one ReadyForQuery
   */
  news(answer: Uint8Array, isPipeline: boolean): Uint8Array {
    if (!isPipeline && !endsInReport(answer)) return answer
    const parts: Uint8Array[] = []
    let from = 0
    this.#walk(answer, (start, end) => {
      parts.push(answer.subarray(from, start))
      from = end
    })
    return from === 0 ? answer : concatBytes([...parts, answer.subarray(from)])
  }

  /** @param onOld told of each report that is no news: where it begins and ends */
  #walk(messages: Uint8Array, onOld: (start: number, end: number) => void): void {
    let at = 0
    for (;;) {
      const next = frameEnd(messages, at, messages.length)
      if (next < 0) return
      if (messages[at] === BACKEND.parameterStatus) {
        const body = new BodyReader(messages, at + FRAME_HEAD_BYTES, next)
        if (!this.#isNews(body.stringOfBytes(), body.stringOfBytes())) onOld(at, next)
      }
      at = next
    }
  }

  #isNews(name: string, value: string): boolean {
    if (this.valueOf(name) === value) return false
    this.#own ??= new Map()
    this.#own.set(name, value)
    return true
  }
}

/**
 * Whether the message before the last one is a report: `S`, a length, `name\0value\0`. Read from
 * behind, so that it does not matter how long an answer is. May be wrong in saying so.
 */
function endsInReport(answer: Uint8Array): boolean {
  const end = answer.length - READY_BYTES
  if (end < FRAME_HEAD_BYTES || answer[end] !== BACKEND.readyForQuery) return false
  const nameEnd = answer.lastIndexOf(0, end - 2)
  if (nameEnd < 1) return false
  const zero = answer.lastIndexOf(0, nameEnd - 1)
  for (let start = Math.max(0, zero - LENGTH_BYTES); start < zero; start++) {
    if (answer[start] !== BACKEND.parameterStatus) continue
    if (int32At(answer, start + 1) === end - start - 1) return true
  }
  return false
}
