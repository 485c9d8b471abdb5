/**
 * What the admin console looks at, for tests of its parts: a FakeControl and a clock that stands
 * still.
 */
import { ManualClock } from '../../src/base/clock.ts'
import type { ConsoleSources } from '../../src/front/console/table.ts'
import { PgnapError } from '../../src/base/errors.ts'
import type { Activity, ClientFacts } from '../../src/front/control.ts'
import type { Operations } from '../../src/front/operations.ts'
import { FakeControl } from './fake-control.ts'

export interface FakeSources extends ConsoleSources {
  readonly control: FakeControl
  readonly operations: FakeOperations
  readonly clock: ManualClock
}

/** Remembers what it was asked; a pause ends when the test says so, or when it is given up. */
export class FakeOperations implements Operations {
  readonly asked: string[] = []
  readonly pauses: Set<string> = new Set()
  pausedAll = false
  rested: PromiseWithResolvers<void> = Promise.withResolvers()

  paused(): ReturnType<Operations['paused']> {
    return { all: this.pausedAll, tenants: [...this.pauses] }
  }

  async pause(database: string | undefined, signal: AbortSignal): Promise<void> {
    this.asked.push(`pause ${database}`)
    signal.addEventListener('abort', () => this.asked.push(`taken back ${database}`))
    await this.rested.promise
  }

  async resume(database: string | undefined): Promise<void> {
    this.asked.push(`resume ${database}`)
  }

  async kill(database: string): Promise<void> {
    this.asked.push(`kill ${database}`)
  }

  async reconnect(database: string | undefined): Promise<void> {
    this.asked.push(`reconnect ${database}`)
  }

  async reload(): Promise<void> {
    this.asked.push('reload')
    throw new PgnapError('CONFIG_INVALID', 'cannot read the auth file')
  }
}

const CLIENT: ClientFacts = {
  database: 'acme',
  user: 'ann',
  applicationName: 'psql',
  state: 'waiting',
  transaction: 'idle',
  waitMs: 1_250.5,
  connectedMs: 1_000,
  requestMs: 2_000,
  processId: 77,
  peer: { address: '127.0.0.1', port: 4000, localAddress: '127.0.0.1', localPort: 6432 },
}

/** One busy tenant in a slot with a client that waits, one that naps, a free slot. */
export const ACTIVITY: Activity = {
  tenants: [
    { ...tenant('napper', 'napping'), shard: 1 },
    { ...tenant('acme', 'awake'), use: 'client', clients: 2, waiting: 1, longestWaitMs: 1_250.5 },
  ],
  slots: [
    { ...slot(0), tenant: 'acme', state: 'awake', use: 'client', awakeSinceMs: 1, lastUsedMs: 2 },
    { ...slot(1), shard: 1 },
  ],
  clients: [CLIENT],
}

export function consoleSources(): FakeSources {
  const control = new FakeControl()
  control.activityFacts = ACTIVITY
  control.names.add('acme')
  return {
    control,
    operations: new FakeOperations(),
    clock: new ManualClock(),
    version: '1.2.3',
    serverVersion: '18.6',
    startedMs: 0,
    settings: [{ name: 'slots', value: '4', otherwise: '8' }],
    userCount: async () => 3,
    clients: () => [{ ...CLIENT, database: 'pgnap', state: 'idle', waitMs: 0, processId: 78 }],
  }
}

function tenant(name: string, state: 'awake' | 'napping') {
  const nothing = { use: 'nobody', clients: 0, waiting: 0, longestWaitMs: 0 } as const
  return { name, state, shard: 0, pinned: name === 'acme', paused: name === 'napper', ...nothing }
}

function slot(id: number) {
  const free = { tenant: undefined, state: undefined, use: 'nobody', isFork: false } as const
  return { shard: 0, id, memoryBytes: 100, ...free, awakeSinceMs: 0, lastUsedMs: 0 }
}
