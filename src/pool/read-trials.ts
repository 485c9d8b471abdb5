/**
 * Whether a batch of a client is worth a try in a fork: by its words (`reading-batch.ts`), and by
 * what came of it before (`tried-texts.ts`).
 */
import type { LiveClient, LiveTenant } from './pool-client.ts'
import { boundStatements, type Reading, readingOf } from './reading-batch.ts'
import { triedKey, TriedTexts } from './tried-texts.ts'

/** Statements of a client that are known to be no readers; beyond, they are tried again. */
const WRITERS_MAX = 100
const NONE: ReadonlySet<string> = new Set()

export class ReadTrials {
  /** Statements that turned out to write. */
  readonly #writers = new WeakMap<LiveClient, Set<string>>()
  /** What came of statements: of their texts in a tenant, and of their names with a client. */
  readonly #tried = new WeakMap<LiveTenant | LiveClient, TriedTexts>()

  readingOf(client: LiveClient, messages: Uint8Array, complete: boolean, nowMs: number): Reading {
    const writers = this.#writers.get(client) ?? NONE
    const reading = readingOf(messages, complete, writers, client.floating)
    // What gives it its settings is ours.
    if (client.begins && reading !== 'no') return 'surely'
    if (reading !== 'reads' && reading !== 'surely') return reading
    const key = triedKey(messages)
    let trial = this.#tried.get(client)?.of(key, nowMs)
    // What surely reads was in vain for something that its client alone has.
    if (!key.isOwn && reading === 'reads') trial ??= this.#tried.get(client.tenant)?.of(key, nowMs)
    return trial === 'vain' ? 'no' : trial === 'read' ? 'surely' : reading
  }

  /** A batch was tried, and has only read. */
  noteRead(client: LiveClient, messages: Uint8Array, nowMs: number): void {
    const key = triedKey(messages)
    this.#triedOf(key.isOwn ? client : client.tenant).note(key, false, nowMs)
  }

  /**
   * A batch was tried, in vain.
   * @param forAll it would be so for other clients as well
   */
  noteVain(client: LiveClient, messages: Uint8Array, forAll: boolean, nowMs: number): void {
    const key = triedKey(messages)
    this.#triedOf(client).note(key, true, nowMs)
    if (forAll && !key.isOwn) this.#triedOf(client.tenant).note(key, true, nowMs)
    const writers = this.#writers.get(client) ?? new Set()
    if (writers.size >= WRITERS_MAX) writers.clear()
    // The unnamed one is another one each time.
    for (const name of boundStatements(messages)) if (name !== '') writers.add(name)
    this.#writers.set(client, writers)
  }

  #triedOf(whose: LiveTenant | LiveClient): TriedTexts {
    const tried = this.#tried.get(whose) ?? new TriedTexts()
    this.#tried.set(whose, tried)
    return tried
  }
}
