/**
 * What each event means to a tenant, depending on where the tenant is: every phase times every
 * event, in one table, so that nothing is left to chance and the compiler finds what was
 * forgotten. `pool-state.ts` looks up here and acts; there must be no second place that decides by
 * phase.
 */
import type { TenantPhase } from './pool-model.ts'

/** The events whose meaning depends on where the tenant is. */
export type TenantEventType =
  | 'batchRequested'
  | 'clientLeft'
  | 'clientPinned'
  | 'bootFinished'
  | 'bootFailed'
  | 'evicted'
  | 'evictionRefused'
  | 'imageMoved'
  | 'imageRead'
  | 'warmRequested'
  | 'napRequested'
  | 'renewalRequested'
  | 'upkeepDue'
  | 'slotLost'

/**
 * What the machine does with an event. `waitForSlot`: join the tenant's queue, and the tenant the
 * shard's. `settle`: clean up after a client. `hold`: it keeps the backend as in a transaction.
 * `never`: the shell has broken its contract.
 */
export type Reaction =
  | 'waitForSlot'
  | 'wait'
  | 'serve'
  | 'settle'
  | 'hold'
  | 'rest'
  | 'stay'
  | 'wake'
  | 'fail'
  | 'nap'
  | 'move'
  | 'warm'
  | 'renew'
  | 'maintain'
  | 'ignore'
  | 'never'

/** The whole life of a tenant; the compiler demands that it is complete. */
export const REACTIONS: Readonly<Record<TenantPhase, Readonly<Record<TenantEventType, Reaction>>>> =
  {
    cold: {
      batchRequested: 'waitForSlot',
      clientLeft: 'rest',
      clientPinned: 'ignore',
      bootFinished: 'never',
      bootFailed: 'never',
      evicted: 'never',
      evictionRefused: 'never',
      imageMoved: 'ignore',
      imageRead: 'move',
      warmRequested: 'warm',
      napRequested: 'ignore',
      renewalRequested: 'ignore',
      upkeepDue: 'ignore',
      slotLost: 'never',
    },
    waking: {
      batchRequested: 'wait',
      clientLeft: 'ignore',
      clientPinned: 'hold',
      bootFinished: 'wake',
      bootFailed: 'fail',
      evicted: 'never',
      evictionRefused: 'never',
      imageMoved: 'ignore',
      imageRead: 'never',
      warmRequested: 'ignore',
      napRequested: 'ignore',
      renewalRequested: 'renew',
      upkeepDue: 'ignore',
      slotLost: 'rest',
    },
    awake: {
      batchRequested: 'serve',
      clientLeft: 'settle',
      clientPinned: 'hold',
      bootFinished: 'never',
      bootFailed: 'never',
      evicted: 'never',
      evictionRefused: 'never',
      imageMoved: 'ignore',
      imageRead: 'never',
      warmRequested: 'ignore',
      napRequested: 'nap',
      renewalRequested: 'renew',
      upkeepDue: 'maintain',
      slotLost: 'rest',
    },
    draining: {
      batchRequested: 'wait',
      clientLeft: 'ignore',
      clientPinned: 'ignore',
      bootFinished: 'never',
      bootFailed: 'never',
      evicted: 'rest',
      evictionRefused: 'stay',
      imageMoved: 'never',
      imageRead: 'never',
      warmRequested: 'ignore',
      napRequested: 'ignore',
      renewalRequested: 'renew',
      upkeepDue: 'ignore',
      slotLost: 'rest',
    },
    napping: {
      batchRequested: 'waitForSlot',
      clientLeft: 'rest',
      clientPinned: 'hold',
      bootFinished: 'never',
      bootFailed: 'never',
      evicted: 'never',
      evictionRefused: 'never',
      imageMoved: 'move',
      imageRead: 'never',
      warmRequested: 'ignore',
      napRequested: 'ignore',
      renewalRequested: 'renew',
      upkeepDue: 'ignore',
      slotLost: 'never',
    },
    asleep: {
      batchRequested: 'waitForSlot',
      clientLeft: 'rest',
      clientPinned: 'ignore',
      bootFinished: 'never',
      bootFailed: 'never',
      evicted: 'never',
      evictionRefused: 'never',
      imageMoved: 'move',
      imageRead: 'move',
      warmRequested: 'warm',
      napRequested: 'ignore',
      renewalRequested: 'renew',
      upkeepDue: 'ignore',
      slotLost: 'never',
    },
  }
