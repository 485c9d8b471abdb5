/** A place for media over a bucket, for the suites of test/conformance. */
import { ManualClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { SyncDelayMonitor } from '../../src/base/sync-delay.ts'
import { FolderBucket } from '../../src/host/node/folder-bucket.ts'
import { SqlJsMedium } from '../../src/host/sql-js-medium.ts'
import type { Bucket } from '../../src/medium/bucket.ts'
import type { Medium } from '../../src/medium/medium.ts'
import { sqlJs } from './sql-js.ts'

export interface BucketPlace {
  readonly open: () => Promise<SqlJsMedium>
  readonly reopen: () => Promise<SqlJsMedium>
  readonly settle: (medium: Medium) => Promise<void>
}

/** @param place a folder, or another bucket that is empty */
export function bucketPlace(place: string | Bucket): BucketPlace {
  const bucket = typeof place === 'string' ? new FolderBucket(place) : place
  const clock = new ManualClock()
  const monitor = new SyncDelayMonitor({ clock, log: silentLog })
  const open = async (): Promise<SqlJsMedium> =>
    SqlJsMedium.open({ sqlJs: await sqlJs(), bucket, key: 'database.sqlite', clock, monitor })
  return {
    open,
    reopen: open,
    settle: async (medium) => {
      if (medium instanceof SqlJsMedium) await medium.settled()
    },
  }
}
