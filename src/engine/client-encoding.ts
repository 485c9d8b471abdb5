/**
 * In which encoding a backend talks. Its clients have encodings of their own (client_encoding); the
 * pool talks UTF-8, in the same backend, between their batches, whatever state that is in: in the
 * middle of a transaction, in one that has failed, in a copy.
 *
 * What the setting says and what is in force are not the same variables in Postgres: it is three
 * pointers that say how bytes of a client are read and written. They are put to UTF-8 as soon as
 * Postgres has nothing more to say to a client than that it is ready, and to what the setting says
 * before a client's next batch. The setting itself is left alone, so that it is each session's own,
 * undone by ROLLBACK and gone with SET LOCAL, as Postgres does that.
 *
 * The pointers lead to functions in a list that Postgres keeps of each encoding that was set in the
 * backend. Setting one again replaces its entry, so they are never remembered, but looked for.
 *
 * Whoever has UTF-8, as almost all do, pays for looking at two words of memory.
 *
 * Source: Postgres 18, mbutils.c (SetClientEncoding, ConvProcInfo), pg_wchar.h (pg_enc2name),
 * fmgr.h.
 */
import { textAt } from '../base/bytes.ts'
import { ENCODING, ENCODING_NAMES } from '../base/local-encodings.ts'
import { recodeMessages } from '../base/recode-messages.ts'
import type { Instance } from './instance.ts'
import { MemorySearch, onlyPlace } from './memory-search.ts'

/** Addresses of variables. */
export interface EncodingAnchors {
  /** The value of client_encoding, a pointer to text. */
  readonly setting: number
  /** Which encoding is in force: a pointer into {@link names}. */
  readonly current: number
  /** Pointers to the function that converts what a client says, and what it is told; or null. */
  readonly toServer: number
  readonly toClient: number
  /** List of functions, those of the encoding that was set last in front; or null. */
  readonly functions: number
  /** Table of names and numbers. */
  readonly names: number
}

/** Whose words a run is of. */
export type Speaker = 'client' | 'pool'

/** struct pg_enc2name. */
const NAME_BYTES = 8
/** struct ConvProcInfo: encodings of server and client, and for each direction a FmgrInfo. */
const INFO_CLIENT_AT = 4
const INFO_TO_SERVER_AT = 8
const INFO_TO_CLIENT_AT = 36
/** struct List: length, elements. */
const LIST_LENGTH_AT = 4
const LIST_ELEMENTS_AT = 12
/** struct config_string: where the address of the variable stands. */
const SETTING_VARIABLE_AT = 92
/** `UTF8` as a word, and the byte behind it. */
const UTF8_WORD = 0x38465455
/** struct FunctionCallInfoBaseData: where the arguments begin; each is a word and a flag. */
const ARGUMENTS_AT = 20
const ARGUMENT_BYTES = 8
/** What a character can become, at most, and the zero behind all. */
const GROWTH = 4
/** How far variables that are declared together may lie apart. */
const BESIDE_BYTES = 16
const PROBE = ENCODING.LATIN1
export const UTF8 = 'UTF8'
const PROBE_NAME = ENCODING_NAMES[PROBE] as string

/** To be run before {@link findEncoding}; what is to be run afterwards. */
export const encodingProbe: readonly [before: string, after: string] = [
  `set client_encoding = '${PROBE_NAME}'`,
  'reset client_encoding',
]

/** Finds the variables in a backend that was probed. @param staticEnd end of static variables */
export function findEncoding(heap: Uint8Array, staticEnd: number): EncodingAnchors {
  const memory = new MemorySearch(heap)
  const name = onlyPlace(
    'the name of an encoding',
    memory
      .textsEqualTo(PROBE_NAME)
      .flatMap((text) => memory.wordsEqualTo(text, staticEnd))
      .filter((at) => memory.word(at + 4) === PROBE)
      .filter((at) => isUtf8Name(memory, at + (ENCODING.UTF8 - PROBE) * NAME_BYTES)),
  )
  const isInfo = (at: number): boolean =>
    memory.word(at) === ENCODING.UTF8 && memory.word(at + INFO_CLIENT_AT) === PROBE
  const pointersTo = (place: number): number[] =>
    memory
      .wordsEqualTo(ENCODING.UTF8)
      .filter((at) => at >= staticEnd && isInfo(at))
      .flatMap((at) => memory.wordsEqualTo(at + place, staticEnd))
  const toServer = onlyPlace('what converts from a client', pointersTo(INFO_TO_SERVER_AT))
  // Something else may point there. The two variables lie together.
  const toClient = pointersTo(INFO_TO_CLIENT_AT).filter(
    (at) => Math.abs(at - toServer) <= BESIDE_BYTES,
  )
  const lists = memory
    .wordsEqualTo(ENCODING.UTF8)
    .filter((at) => at >= staticEnd && isInfo(at))
    .flatMap((at) => memory.wordsEqualTo(at))
    .flatMap((element) => memory.wordsEqualTo(element))
    .flatMap((at) => memory.wordsEqualTo(at - LIST_ELEMENTS_AT, staticEnd))
  const settings = memory
    .textsEqualTo('client_encoding')
    .flatMap((text) => memory.wordsEqualTo(text, staticEnd))
    .map((setting) => memory.word(setting + SETTING_VARIABLE_AT))
    .filter((at) => at > 0 && at < staticEnd && memory.text(memory.word(at)) === PROBE_NAME)
  return {
    setting: onlyPlace('the value of client_encoding', settings),
    current: onlyPlace('the encoding in force', memory.wordsEqualTo(name, staticEnd)),
    toServer,
    toClient: onlyPlace('what converts for a client', toClient),
    functions: onlyPlace('the list of conversions', [...new Set(lists)]),
    names: name - PROBE * NAME_BYTES,
  }
}

function isUtf8Name(memory: MemorySearch, at: number): boolean {
  return memory.word(at + 4) === ENCODING.UTF8 && memory.text(memory.word(at)) === UTF8
}

export class ClientEncoding {
  readonly #anchors: EncodingAnchors
  readonly #instance: Pick<Instance, 'module' | 'functionOf' | 'functionAt'>
  readonly #utf8At: number
  #view: DataView

  constructor(
    anchors: EncodingAnchors,
    instance: Pick<Instance, 'module' | 'functionOf' | 'functionAt'>,
  ) {
    this.#anchors = anchors
    this.#instance = instance
    this.#utf8At = anchors.names + ENCODING.UTF8 * NAME_BYTES
    this.#view = new DataView(instance.module.HEAPU8.buffer)
  }

  /** What the setting says. */
  get name(): string {
    const at = this.#word(this.#anchors.setting)
    if (this.#isUtf8(at)) return UTF8
    return textAt(this.#instance.module.HEAPU8, at)
  }

  /** Postgres talks as the pool or as the client wants it from now on. */
  speakTo(speaker: Speaker): void {
    const { setting, current } = this.#anchors
    const now = this.#word(current)
    const isUtf8 = speaker === 'pool' || this.#isUtf8(this.#word(setting))
    if (isUtf8 && now === this.#utf8At) return
    // Another name for UTF-8 is none that anything is converted for.
    const encoding = isUtf8 ? ENCODING.UTF8 : ENCODING_NAMES.indexOf(this.name)
    const info = this.#functionsOf(encoding)
    const isKnown = info !== 0 || encoding === 0
    this.#set(current, isKnown ? this.#anchors.names + encoding * NAME_BYTES : this.#utf8At)
    this.#set(this.#anchors.toServer, info === 0 ? 0 : info + INFO_TO_SERVER_AT)
    this.#set(this.#anchors.toClient, info === 0 ? 0 : info + INFO_TO_CLIENT_AT)
  }

  /**
   * Text of one encoding in another, one of which is UTF-8 and the other one that has been set in
   * this backend. Undefined: it cannot be converted. Only while nothing runs in the backend.
   */
  convert(text: Uint8Array, from: string, to: string): Uint8Array | undefined {
    if (from === to || text.every((byte) => byte < 0x80)) return text
    const [source, target] = [from, to].map((each) => ENCODING_NAMES.indexOf(each))
    const isToServer = target === ENCODING.UTF8
    const info = this.#functionsOf((isToServer ? source : target) ?? -1)
    if (info === 0) return undefined
    const entry = this.#word(info + (isToServer ? INFO_TO_SERVER_AT : INFO_TO_CLIENT_AT))
    const { functionOf, functionAt, module } = this.#instance
    const room = ARGUMENTS_AT + 6 * ARGUMENT_BYTES + text.length * (GROWTH + 1) + 2
    // Of the context of the last message, which the next one empties.
    const callAt = Number(functionOf.call(this.#instance, 'palloc')(room))
    const textFrom = callAt + ARGUMENTS_AT + 6 * ARGUMENT_BYTES
    const resultAt = textFrom + text.length + 1
    module.HEAPU8.fill(0, callAt, textFrom)
    module.HEAPU8.set(text, textFrom)
    module.HEAPU8[resultAt - 1] = 0
    const values = [source ?? 0, target ?? 0, textFrom, resultAt, text.length, 1]
    values.forEach((value, index) =>
      this.#set(callAt + ARGUMENTS_AT + index * ARGUMENT_BYTES, value),
    )
    const done = Number(functionAt.call(this.#instance, entry)(callAt))
    if (done < text.length) return undefined
    const { HEAPU8 } = module
    return HEAPU8.slice(resultAt, HEAPU8.indexOf(0, resultAt))
  }

  /** An answer whose reports of settings (ParameterStatus) are UTF-8, for the client. */
  tellReports(answer: Uint8Array): Uint8Array {
    const { name } = this
    if (name === UTF8) return answer
    const convert = (text: Uint8Array): Uint8Array | undefined => this.convert(text, UTF8, name)
    return recodeMessages(answer, { type: 'S', textsAt: 0, convert })
  }

  /** Where the functions for a client's encoding are. 0: it has none. */
  #functionsOf(encoding: number): number {
    const list = this.#word(this.#anchors.functions)
    if (list === 0) return 0
    const elements = this.#word(list + LIST_ELEMENTS_AT)
    const end = elements + this.#word(list + LIST_LENGTH_AT) * 4
    for (let at = elements; at < end; at += 4) {
      const info = this.#word(at)
      const isOurs = this.#word(info) === ENCODING.UTF8
      if (isOurs && this.#word(info + INFO_CLIENT_AT) === encoding) return info
    }
    return 0
  }

  #isUtf8(at: number): boolean {
    return this.#word(at) === UTF8_WORD && this.#instance.module.HEAPU8[at + 4] === 0
  }

  #word(at: number): number {
    return this.#current.getUint32(at, true)
  }

  #set(at: number, value: number): void {
    this.#current.setUint32(at, value, true)
  }

  /** A memory that has grown has another buffer. */
  get #current(): DataView {
    const { buffer } = this.#instance.module.HEAPU8
    if (this.#view.buffer !== buffer) this.#view = new DataView(buffer)
    return this.#view
  }
}
