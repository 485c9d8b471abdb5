/**
 * A byte stream as the wire room sees it, and what a host may tell it. The host owns the socket (or
 * the WebSocket, or a test's array); this room owns the bytes' meaning. Both directions lend bytes
 * for the length of one call, so that an answer goes from a backend's buffer to the socket without
 * a copy of ours.
 *
 * Interfaces only. Nothing here may know what a socket is.
 */

/** The outgoing half, given by a host. No method throws, whatever the state of the stream. */
export interface Link {
  /** Sends `bytes`. They have been consumed or copied when the call returns. */
  write(bytes: Uint8Array): void
  /**
   * Sends `lastBytes` if given, then closes in good order. Later calls do nothing. The host cuts
   * off a client that then takes nothing for `LIMITS.lingerMs`: nobody else has a timer for it.
   */
  end(lastBytes?: Uint8Array): void
  /** Closes at once and forgets what has not been sent. */
  destroy(): void
  /** Bytes accepted by `write` that the network has not taken yet. */
  readonly bufferedBytes: number
  /**
   * No `receive` any more until `resumeReading`, but for what is on its way already: somebody has
   * to keep and to count that. Bytes of the current call are still ours.
   */
  pauseReading(): void
  resumeReading(): void
}

/** The incoming half, called by a host. No method throws. */
export interface LinkReceiver {
  /**
   * Bytes from the client, split anywhere. Valid only during the call. Not in shared memory: the
   * platform decodes no text there.
   */
  receive(bytes: Uint8Array): void
  /** `bufferedBytes` of the link is 0 again after it was not. */
  linkDrained(): void
  /**
   * The client has sent its last byte but may still read (a half-close). Whoever implements this
   * ends the link when it has answered; without it the host ends the link at once.
   */
  linkEnded?(): void
  /** The stream has ended, in whatever way. Called once; nothing is called after it. */
  linkClosed(): void
}
