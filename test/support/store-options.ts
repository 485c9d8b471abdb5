/** What opening a store takes in tests: one template, and an engine that it belongs to. */
import type { Clock } from '../../src/base/clock.ts'
import { ManualClock } from '../../src/base/clock.ts'
import type { Fingerprint } from '../../src/base/ids.ts'
import type { StoreOptions } from '../../src/store/store.ts'
import type { Template } from '../../src/store/template.ts'

export function storeOptions(
  template: Template,
  {
    clock = new ManualClock(),
    fingerprint = 'test',
  }: {
    readonly clock?: Clock
    readonly fingerprint?: string
  } = {},
): StoreOptions {
  return {
    clock,
    engine: {
      fingerprint: fingerprint as Fingerprint,
      postgresMajor: 18,
      templateId: template.id,
    },
    templates: { get: (id) => (id === template.id ? template : undefined) },
  }
}
