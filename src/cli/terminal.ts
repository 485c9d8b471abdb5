/**
 * What a verb may touch of the process: where it writes, what it reads, what surrounds it. An
 * argument, so that a test sees every byte that a user would see and nothing of the process that
 * runs it.
 */
import { text } from 'node:stream/consumers'

export interface Terminal {
  /** Answers: what another program may read. */
  out(text: string): void
  /** Everything else: notes, errors. */
  complain(text: string): void
  /** Whether a person reads `out`. */
  readonly interactive: boolean
  readonly environment: Readonly<Record<string, string | undefined>>
  /** All of standard input. */
  input(): Promise<string>
  /** Standard input as it comes. */
  inputChunks(): AsyncIterable<Uint8Array>
  /** As `out`; settles when there is room for more. Rejects if nobody takes it any more. */
  outBytes(bytes: Uint8Array): Promise<void>
}

/** Errors of standard output belong to what was written; unheard, one would end the process. */
const hearErrors = (): void => {
  process.stdout.off('error', ignore).on('error', ignore)
}
const ignore = (): void => {}

/** The terminal of this process. */
export const processTerminal: Terminal = {
  // Whoever reads the first lines only, and goes, has what he wanted.
  out: (line) => {
    hearErrors()
    process.stdout.write(line)
  },
  complain: (line) => void process.stderr.write(line),
  interactive: process.stdout.isTTY === true,
  environment: process.env,
  input: () => text(process.stdin),
  inputChunks: () => process.stdin,
  outBytes: (bytes) =>
    new Promise((resolve, reject) => {
      hearErrors()
      process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()))
    }),
}
