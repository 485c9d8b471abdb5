/**
 * A place for whole objects by name, asked asynchronously: R2, anything that speaks S3, a folder.
 * What a database over it needs is little: read one, and write one only if it is still what was
 * read, so that of two writers one is told.
 */

export interface StoredObject {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Names this content; another content has another one. */
  readonly tag: string
}

export interface Bucket {
  /** Its tag, to see whether it has changed; undefined if there is none. Rejects with STORE_IO. */
  tagOf(key: string): Promise<string | undefined>
  /** Undefined if there is none. Rejects with STORE_IO. */
  get(key: string): Promise<StoredObject | undefined>
  /**
   * Writes an object, whole or not at all, if what is there has still this tag; undefined: if there
   * is none. It survives the end of the machine when the promise is kept; its new tag.
   * Rejects with STORE_FENCED if it has another tag, and with STORE_IO or OUTCOME_UNKNOWN:
   * then it may be written.
   */
  put(key: string, bytes: Uint8Array, tag: string | undefined): Promise<string>
}
