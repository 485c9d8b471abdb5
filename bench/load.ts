/**
 * The load generator's handle: one worker thread that lives as long as the run, so that its code is
 * compiled and warm before anything is measured. It does the same fixed work for every peer, which
 * is what makes the hashes of their answers comparable. The thread itself is `load-worker.ts`.
 */
import { Worker } from 'node:worker_threads'
import type { LoadAnswer, LoadJob, LoadResult, NumberedJob } from './load-worker.ts'

export class LoadGenerator implements AsyncDisposable {
  readonly #worker: Worker = new Worker(new URL('./load-worker.ts', import.meta.url))
  #jobCount = 0

  /**
   * Runs one job. Rejects with the first error that any client met. One at a time; but a job that
   * took too long is given up by its row and answers in the middle of another one, so each has a
   * number and hears of itself only.
   */
  run(job: LoadJob): Promise<LoadResult> {
    const number = ++this.#jobCount
    return new Promise((resolve, reject) => {
      const settle = (answer: LoadAnswer): void => {
        if (answer.number !== number) return
        this.#worker.off('message', settle)
        if ('error' in answer) reject(new Error(answer.error))
        else resolve(answer.result)
      }
      this.#worker.on('message', settle)
      this.#worker.postMessage({ number, job } satisfies NumberedJob)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate()
  }
}
