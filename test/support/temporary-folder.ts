/** Folders of tests, which go away with what has needed them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'

/** An empty folder that goes away when it is disposed. */
export function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'pgnap-test-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** Path of an empty folder that goes away after the test, the suite or the file that calls. */
export function testFolder(): string {
  const folder = temporaryFolder()
  after(() => folder[Symbol.dispose]())
  return folder.path
}
