/** Sees which files and folders are made durable, on the real disk. */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import type { TestContext } from 'node:test'

/** Whether a path has been synced since the call, until the test has ended. */
export function watchSyncs(context: TestContext): (path: string) => boolean {
  const synced = new Set<number>()
  const sync = fs.fsyncSync
  context.mock.method(fs, 'fsyncSync', (descriptor: number) => {
    sync(descriptor)
    synced.add(fs.fstatSync(descriptor).ino)
  })
  syncBuiltinESMExports()
  context.after(() => {
    context.mock.restoreAll()
    syncBuiltinESMExports()
  })
  return (path) => synced.has(fs.statSync(path).ino)
}
