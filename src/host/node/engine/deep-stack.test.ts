import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { deepStack, giveBackFor, shareDeepStacks } from './deep-stack.ts'

/** A thread that is in the middle of an entry when it ends. */
async function threadThatEndsInside(): Promise<number> {
  shareDeepStacks()
  const code = `
    import { parentPort } from 'node:worker_threads'
    import { deepStack } from ${JSON.stringify(import.meta.resolve('./deep-stack.ts'))}
    deepStack().take()
    parentPort.postMessage('inside')
    setInterval(() => {}, 1000)`
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`))
  const { threadId } = worker
  await new Promise((resolve) => worker.once('message', resolve))
  await worker.terminate()
  return threadId
}

test('a thread that ends in the middle of an entry does not keep others from theirs', async () => {
  const ended = await threadThatEndsInside()
  const state = new Int32Array(new SharedArrayBuffer(4))
  const code = `
    import { workerData } from 'node:worker_threads'
    import { deepStack } from ${JSON.stringify(import.meta.resolve('./deep-stack.ts'))}
    const room = deepStack()
    room.take()
    room.giveBack()
    Atomics.store(workerData, 0, 1)`
  const url = new URL(`data:text/javascript,${encodeURIComponent(code)}`)
  const other = new Worker(url, { workerData: state })
  const exited = new Promise((resolve) => other.once('exit', resolve))
  await sleep(200)
  assert.equal(Atomics.load(state, 0), 0, 'it waits')
  giveBackFor(ended + 1)
  await sleep(50)
  assert.equal(Atomics.load(state, 0), 0, 'that was somebody else')
  giveBackFor(ended)
  await exited
  assert.equal(Atomics.load(state, 0), 1)
  const room = deepStack()
  room?.take()
  room?.giveBack()
})
