/**
 * A batch with several ends, of a client that another one may keep from an advisory lock: each
 * piece is a batch of its own, as in a server. One that has to wait for a lock is run anew, and
 * what came before it must not be done twice, nor be taken back.
 */
import { concatBytes, keptBytes } from '../base/bytes.ts'
import { errorResponse } from '../base/error-message.ts'
import { piecesOf } from '../base/message-frames.ts'
import { message } from '../base/protocol-message.ts'
import { toPgnapError, WAITED_IN_VAIN } from '../base/errors.ts'
import type { TransactionStatus } from '../engine/engine.ts'
import type { LiveClient } from './pool-client.ts'
import { clientGone } from './pool-rejection.ts'

type RunPiece = (piece: Uint8Array, complete: boolean) => Uint8Array | Promise<Uint8Array>

const STATUS: Readonly<Record<TransactionStatus, string>> = {
  idle: 'I',
  transaction: 'T',
  failed: 'E',
}

/** The pieces of a batch that is to be run like this, copied; undefined: it is not. */
export function severalIn(client: LiveClient, messages: Uint8Array): Uint8Array[] | undefined {
  const { sessions, slot } = client.tenant
  if (!slot || !sessions.mayBeLockedOut(client, slot)) return undefined
  const pieces = piecesOf(messages)
  return pieces.length < 2 ? undefined : pieces.map((piece) => new Uint8Array(piece))
}

/**
 * Of a piece that waited in vain the client is told in the answer, and the others are run. Rejects
 * if it cannot go on.
 * @param first runs the first piece, for which it has the backend
 */
export async function runPiecewise(
  client: LiveClient,
  { pieces, complete }: { readonly pieces: readonly Uint8Array[]; readonly complete: boolean },
  first: RunPiece,
): Promise<Uint8Array> {
  const answers: Uint8Array[] = []
  for (const [index, piece] of pieces.entries()) {
    const ends = complete || index < pieces.length - 1
    if (client.closed) throw client.ending ?? clientGone()
    try {
      const answer = index === 0 ? first(piece, ends) : client.run(piece, ends)
      // eslint-disable-next-line no-await-in-loop
      answers.push(new Uint8Array(await keptBytes(answer)))
    } catch (error) {
      answers.push(refused(client, ends, error))
    }
  }
  return concatBytes(answers)
}

function refused(client: LiveClient, ends: boolean, reason: unknown): Uint8Array {
  const error = toPgnapError(reason)
  const { transactionStatus: status, isFloating, mayGoOn } = client
  const isOpen = status !== 'idle' && !isFloating
  if (client.closed || isOpen || !(WAITED_IN_VAIN.has(error.sqlState) || mayGoOn)) throw reason
  if (!ends) {
    // Nobody would pass over what follows up to its Sync.
    queueMicrotask(() => client.dismiss(error))
    throw reason
  }
  const isReady = message('Z', new TextEncoder().encode(STATUS[status]))
  return concatBytes([errorResponse(error, 'ERROR'), isReady])
}
