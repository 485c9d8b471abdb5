/** The benchmark of the comparison, so that it does not rot: tiny, with no look at numbers. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'
import { promisify } from 'node:util'

test('a smoke run measures architectures of each kind, and prints its tables', async () => {
  const entry = fileURLToPath(new URL('../../bench/cloudflare/run.ts', import.meta.url))
  const chosen = ['thin', 'sqlite']
  const run = promisify(execFile)
  const { stdout } = await run(process.execPath, [entry, '--smoke', ...chosen])
  for (const name of chosen)
    assert.match(stdout, new RegExp(`^\\| \`/${name}\` \\| \\d`, 'm'), name)
  assert.match(stdout, /^\| one isolate with 2 tenants, accounted memory \|.*\d MB \| met \|$/m)
  assert.doesNotMatch(stdout, /NaN|FAILED|undefined/)
})
