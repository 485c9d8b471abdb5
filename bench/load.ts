/**
 * The load generator's handle: one worker thread that lives as long as the run, so that its code is
 * compiled and warm before anything is measured. It does the same fixed work for every peer, which is
 * what makes the hashes of their answers comparable. The thread itself is `load-worker.ts`.
 */
import { Worker } from 'node:worker_threads'
import type { LoadJob, LoadResult } from './load-worker.ts'

export class LoadGenerator implements AsyncDisposable {
  readonly #worker: Worker = new Worker(new URL('./load-worker.ts', import.meta.url))

  /** Runs one job. One at a time. Rejects with the first error that any client met. */
  run(job: LoadJob): Promise<LoadResult> {
    return new Promise((resolve, reject) => {
      this.#worker.once('message', (answer: LoadResult | { error: string }) => {
        if ('error' in answer) reject(new Error(answer.error))
        else resolve(answer)
      })
      this.#worker.postMessage(job)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate()
  }
}
