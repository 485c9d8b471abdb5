/** What the thread of a pg_dump and the one that has its connection say to each other. */
import type { MessagePort } from 'node:worker_threads'

/** Where pg_dump writes its dump. */
export const OUTPUT_DEVICE = '/dev/dump'

export interface PgDumpTask {
  /** Of its command line, without the program's name. */
  readonly words: readonly string[]
  /** For {@link PgDumpRequest}, and answers, which are bytes. */
  readonly port: MessagePort
  /** Set and notified when the answer is there. */
  readonly signal: Int32Array<SharedArrayBuffer>
}

export type PgDumpRequest =
  /** Answered with nothing when it has been taken. */
  | { readonly kind: 'send' | 'write'; readonly bytes: Uint8Array }
  /** Answered with the next bytes of the server; nothing: there are no more. */
  | { readonly kind: 'receive' }
  /** A line of its standard error. Not answered, nor is the last one. */
  | { readonly kind: 'said'; readonly line: string }
  | { readonly kind: 'ended'; readonly exitCode: number }
