/**
 * Point-in-time recovery of the platform, which keeps what the storage of an object was for 30
 * days: a bookmark names a state, and the next life of the object begins in it.
 *
 * workerd on one's own machine has none of it: it names every state by the same zeros, and refuses
 * the rest. So does this, and says so.
 *
 * Source: Cloudflare Durable Objects, "SQLite-backed Durable Object Storage", PITR API.
 */
import { PgnapError, errorText } from '../../base/errors.ts'

export type BookmarkStorage = Pick<
  DurableObjectStorage,
  'getCurrentBookmark' | 'getBookmarkForTime' | 'onNextSessionRestoreBookmark'
>

/** Four groups of hex digits with hyphens between. */
const FORM = /^[\da-f]{8}-[\da-f]{8}-[\da-f]{8}-[\da-f]{32}$/
const NOWHERE = /^[0-]+$/
const UNIMPLEMENTED = /does not implement point-in-time/
/** As far back as the platform remembers. */
const KEPT_MS = 30 * 24 * 60 * 60 * 1_000

/** In ms since 1970. @throws PgnapError REQUEST_INVALID */
export function timeOf(text: string): number {
  // What has no zone would be read as another time by every machine.
  const isTime = /^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)$/.test(text)
  const ms = isTime ? Date.parse(text) : Number.NaN
  if (Number.isFinite(ms)) return ms
  throw new PgnapError('REQUEST_INVALID', `"${text}" is not a time`, {
    hint: 'such as at=2026-11-21T09:30:00Z',
  })
}

/** Of now, or of a time in ms since 1970. @throws PgnapError NOT_SUPPORTED, REQUEST_INVALID */
export async function bookmarkAt(
  storage: BookmarkStorage,
  nowMs: number,
  atMs: number = nowMs,
): Promise<string> {
  if (atMs > nowMs || atMs < nowMs - KEPT_MS) {
    throw new PgnapError('REQUEST_INVALID', 'there is no bookmark of that time', {
      hint: 'name a time of the last 30 days',
    })
  }
  const bookmark = await explained(() =>
    atMs === nowMs ? storage.getCurrentBookmark() : storage.getBookmarkForTime(atMs),
  )
  if (NOWHERE.test(bookmark)) throw unsupported()
  return bookmark
}

/** @throws PgnapError REQUEST_INVALID for what looks like none */
export function checkBookmark(bookmark: string): void {
  if (!FORM.test(bookmark) || NOWHERE.test(bookmark)) {
    throw new PgnapError('REQUEST_INVALID', 'that is no bookmark', {
      hint: 'ask for one: GET /v1/tenants/NAME/bookmark?at=2026-11-21T09:30:00Z',
    })
  }
}

/** @returns the bookmark of the state that is given up. @throws as {@link bookmarkAt} */
export function restoreNext(storage: BookmarkStorage, bookmark: string): Promise<string> {
  return explained(() => storage.onNextSessionRestoreBookmark(bookmark))
}

async function explained(ask: () => Promise<string>): Promise<string> {
  try {
    return await ask()
  } catch (error) {
    const reason = errorText(error)
    if (UNIMPLEMENTED.test(reason)) throw unsupported(error)
    throw new PgnapError('REQUEST_INVALID', `the platform refused the bookmark: ${reason}`, {
      cause: error,
      hint: 'ask for another one: they are kept for 30 days, and each is of one tenant',
    })
  }
}

function unsupported(cause?: unknown): PgnapError {
  return new PgnapError('NOT_SUPPORTED', 'this runtime keeps no bookmarks of storages', {
    cause,
    detail: 'workerd has no point-in-time recovery; Durable Objects of the platform have',
    hint: 'deploy the Worker; here, dump a tenant and restore the dump',
  })
}
