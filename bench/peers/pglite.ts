/** Handle of the process that runs stock PGlite; see `pglite-process.ts` for what is timed. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { PgliteAnswer, PgliteCommand } from './pglite-process.ts'

export class PgliteProcess implements AsyncDisposable {
  readonly #process: ChildProcess = fork(new URL('./pglite-process.ts', import.meta.url), {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** Runs one command; rejects with what PGlite threw, or if the process died of it. */
  run(command: PgliteCommand): Promise<PgliteAnswer> {
    return new Promise((resolve, reject) => {
      const ended = (): void => reject(new Error(`the PGlite process ended during ${command.kind}`))
      this.#process.once('exit', ended)
      this.#process.once('message', (answer: PgliteAnswer | { error: string }) => {
        this.#process.off('exit', ended)
        if ('error' in answer) reject(new Error(answer.error))
        else resolve(answer)
      })
      this.#process.send(command)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exited = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exited
  }
}
