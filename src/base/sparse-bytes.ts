/**
 * Bytes of which only what somebody looks at is in memory. A start needs a tenth of the files that
 * an engine is made of; touching a page of memory for the first time costs more than reading it
 * from a file that the system has cached (docs/decisions/0032).
 */
export interface SparseBytes {
  /** All of them; what has not been filled is zero. */
  readonly bytes: Uint8Array
  /**
   * Makes a view of `bytes` hold what it should. Costs nothing where that was done before.
   * @throws PgnapError ENGINE_ASSETS_INVALID if they cannot be read
   */
  readonly fill: (part: Uint8Array) => void
  /** Puts what a view of `bytes` should hold elsewhere, piece by piece; the view stays as it is. */
  readonly copy: (part: Uint8Array, targets: readonly Uint8Array[]) => void
}

/** Of bytes that are in memory. */
export const isFilled: SparseBytes['fill'] = () => {}

/** Bytes that are in memory. */
export function wholeBytes(bytes: Uint8Array): SparseBytes {
  return { bytes, fill: isFilled, copy: copyPieces }
}

/** Puts `source` into the targets, one after the other. */
export function copyPieces(source: Uint8Array, targets: readonly Uint8Array[]): void {
  let from = 0
  for (const target of targets) {
    target.set(source.subarray(from, from + target.length))
    from += target.length
  }
}
