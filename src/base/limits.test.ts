import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS } from './limits.ts'

test('limits fit each other', () => {
  assert.ok(
    LIMITS.webSocketUnprovenBytesMax * 4 <= LIMITS.webSocketUnprovenTotalBytesMax,
    'one WebSocket takes no more than its share before it is let in',
  )
  assert.ok(LIMITS.loginGraceMs < LIMITS.authenticationMs, 'a login may take longer than its grace')
  assert.ok(
    LIMITS.loginFailuresPerAddressMax < LIMITS.loginFailuresPerRoleMax,
    'one address alone does not shut a user out',
  )
  assert.ok(
    LIMITS.httpRequestBytesMax * 4 <= LIMITS.isolateClientBytesMax * 3,
    'the body of a request fits what one tenant may make an isolate hold',
  )
  assert.ok(LIMITS.slotRetireBytes < LIMITS.slotMemoryBytesMax, 'a slot retires before its ceiling')
  assert.ok(LIMITS.checkpointIdleBytes <= LIMITS.checkpointBusyBytes, 'idle checkpoints come first')
  assert.ok(LIMITS.dirtyBytesMax <= LIMITS.slotMemoryBytesMax, 'dirty pages fit beside a slot')
  assert.ok(LIMITS.pipelineBytesMax <= LIMITS.messageBytesMax, 'a message may fill a pipeline')
  assert.ok(LIMITS.messageBytesMax <= LIMITS.copyBytesMax, 'a copy holds a message of any size')
  // Text of what was compressed on disk may have a hundred times its size.
  assert.ok(LIMITS.dumpCopyBytes * 100 <= LIMITS.answerBytesMax, 'a part of a table is an answer')
  assert.ok(LIMITS.restoreCopyBytes * 2 <= LIMITS.copyBytesMax, 'a part of a table is small')
  assert.ok(
    LIMITS.answerPauseBytes <= LIMITS.answerBytesMax,
    'a client is paused before it is dropped',
  )
  assert.ok(LIMITS.shardGraceMs < LIMITS.shardHangMs, 'grace is shorter than patience')
  assert.ok(LIMITS.spareSlots < LIMITS.slotsPerShard, 'spare slots leave room for tenants')
  assert.ok(LIMITS.turnMs < LIMITS.turnAloneMs, 'who has neighbours makes room more often')
  assert.ok(LIMITS.turnMs < LIMITS.slotQuantumMs, 'a slot is kept for several turns')
  assert.ok(LIMITS.slotThinkMs < LIMITS.slotQuantumMs, 'who rests makes room before who works')
  assert.ok(LIMITS.maintenanceIdleMs < LIMITS.napAfterMs, 'upkeep comes before the nap')
  assert.ok(LIMITS.moveAgainMs < LIMITS.moveHomeMs, 'who goes home has been left alone before')
  assert.ok(LIMITS.tenantsPerPageMax < LIMITS.tenantNamesKeptMax, 'names are kept for more pages')
  assert.ok(LIMITS.ringRecordBytesMax * 4 <= LIMITS.ringWindowBytes, 'a window holds a few records')
  assert.ok(LIMITS.ringWindowBytes * 2 <= LIMITS.ringBytes, 'one client cannot fill a ring')
  assert.ok(LIMITS.replicaBytesMax <= LIMITS.computeRowBytes, 'a compute has room for one tenant')
  assert.ok(
    LIMITS.undeliveredBytesMax + LIMITS.isolateDirtyBytesMax <= 33_554_432,
    'what is brought home fits a call',
  )
  assert.ok(
    LIMITS.bufferedBytesMax < LIMITS.undeliveredBytesMax,
    'a buffer ends before its room does',
  )
  assert.ok(
    LIMITS.deliveryMs + LIMITS.homeAnswerMs < LIMITS.computeTurnMs,
    'a turn is longer than what it waits for',
  )
  assert.ok(LIMITS.socketAnswerMs * 2 < LIMITS.rememberedNameMs, 'who asks again is known by then')
  assert.ok(LIMITS.homeAnswerMs < LIMITS.deliveryMs, 'what is not heard of is brought again')
  assert.ok(
    LIMITS.syncOptimalMs < LIMITS.syncAcceptableMs &&
      LIMITS.syncAcceptableMs < LIMITS.syncWarningMs &&
      LIMITS.syncWarningMs < LIMITS.syncCriticalMs,
    'each status of a delay begins where the one before ends',
  )
  assert.ok(
    LIMITS.isolateSlotRetireBytes < LIMITS.isolateSlotMemoryBytesMax,
    'a slot of an isolate retires before its ceiling',
  )
  assert.ok(
    LIMITS.isolateSlotMemoryBytesMax + LIMITS.isolateImageBytes < LIMITS.isolateBytesMax,
    'a slot and images leave room for what they come from',
  )
})
