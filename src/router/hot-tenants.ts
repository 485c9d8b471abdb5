/**
 * Which tenants are asked most lately: a score for each, to which every request adds one and which
 * halves with time. So ten requests a minute ago weigh more than fifty yesterday, and whoever is
 * not asked any more is forgotten by itself.
 *
 * Bounded: of more names than there is room for, the coldest go, a tenth at a time. A name that
 * comes often enough to matter comes back. It must never grow with the number of tenants.
 */
import { assert } from '../base/assert.ts'

export interface HotTenantsOptions {
  /** Names that are kept. */
  readonly namesMax: number
  /** After so long a score is half of what it was. */
  readonly halfLifeMs: number
}

/** A score as it was at one moment. Plain data. */
export interface Heat {
  readonly name: string
  readonly score: number
  readonly atMs: number
}

/** Of what is over the maximum, so much goes besides: the next ones need no search. */
const SLACK = 0.1

export class HotTenants {
  readonly #options: HotTenantsOptions
  readonly #heat: Map<string, Heat>

  /** @param known what {@link HotTenants.all} has told before. Default: nothing */
  constructor(options: HotTenantsOptions, known: Iterable<Heat> = []) {
    assert(options.namesMax > 0 && options.halfLifeMs > 0, 'there is room, and scores halve')
    this.#options = options
    this.#heat = new Map(Array.from(known, (heat) => [heat.name, heat]))
  }

  get size(): number {
    return this.#heat.size
  }

  /** It has been asked so often; its heat now, and the names that had to go for it. */
  note(name: string, count: number, nowMs: number): { readonly heat: Heat; gone: string[] } {
    assert(count > 0, 'what was not asked is not noted')
    const heat = { name, score: this.#scoreOf(name, nowMs) + count, atMs: nowMs }
    this.#heat.set(name, heat)
    return { heat, gone: this.#makeRoom(nowMs) }
  }

  /** It is gone. */
  forget(name: string): void {
    this.#heat.delete(name)
  }

  /** Those with the highest scores that are at least `scoreMin`, the hottest first. */
  hottest(count: number, scoreMin: number, nowMs: number): Heat[] {
    return this.all(nowMs)
      .filter(({ score }) => score >= scoreMin)
      .slice(0, count)
  }

  /** All of them as they are now, the hottest first. */
  all(nowMs: number): Heat[] {
    return [...this.#heat.keys()]
      .map((name) => ({ name, score: this.#scoreOf(name, nowMs), atMs: nowMs }))
      .toSorted((a, b) => b.score - a.score || (a.name < b.name ? -1 : 1))
  }

  #scoreOf(name: string, nowMs: number): number {
    const heat = this.#heat.get(name)
    if (!heat) return 0
    // A clock that has been set back cools nothing down, and heats nothing up.
    const ageMs = Math.max(0, nowMs - heat.atMs)
    return heat.score * 0.5 ** (ageMs / this.#options.halfLifeMs)
  }

  #makeRoom(nowMs: number): string[] {
    const { namesMax } = this.#options
    if (this.#heat.size <= namesMax) return []
    const kept = Math.max(1, Math.floor(namesMax * (1 - SLACK)))
    const gone = this.all(nowMs)
      .slice(kept)
      .map(({ name }) => name)
    for (const name of gone) this.#heat.delete(name)
    return gone
  }
}
