/** The oldest Node is named in several places, for npm, for people and for who has an older one. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const ROOT = join(import.meta.dirname, '../..')
const textOf = (file: string): string => readFileSync(join(ROOT, file), 'utf8')
const facts = JSON.parse(textOf('package.json')) as {
  readonly engines: { readonly node: string }
  readonly devDependencies: Readonly<Record<string, string>>
}
const [, oldest = ''] = /^>=(\d+)$/.exec(facts.engines.node) ?? []
const pinned = facts.devDependencies['node']?.split('.')[0] ?? ''

/** What the command says on a Node of another version. */
function onNode(version: string): { readonly status: number | null; readonly stderr: string } {
  const pretend = `Object.defineProperty(process, 'versions',
    { value: { ...process.versions, node: '${version}' } })`
  const words = ['--import', `data:text/javascript,${encodeURIComponent(pretend)}`]
  const program = join(ROOT, 'src/cli/main.ts')
  return spawnSync(process.execPath, [...words, program, '--version'], { encoding: 'utf8' })
}

test('who has an older Node than package.json asks for is told so, and what to do', () => {
  assert.ok(Number(oldest) >= 24)
  const { status, stderr } = onNode(`${Number(oldest) - 1}.9.9`)
  assert.equal(status, 2)
  assert.ok(stderr.startsWith(`pgnap needs Node ${oldest} or newer, this is `), stderr)
  assert.ok(stderr.includes(`\nhint: install a newer Node, or: npx --package=node@${pinned} `))
  // What a module imports by name is loaded before anything of it is run.
  assert.doesNotMatch(textOf('src/cli/main.ts'), /^import /m)
  assert.deepEqual([onNode(`${oldest}.0.0`).status, onNode(`${oldest}.0.0`).stderr], [0, ''])
})

test('documents name the same Node, and the checkout brings the newest that is meant', () => {
  assert.ok(textOf('README.md').includes(`Node ${oldest} or later`))
  assert.ok(textOf('CONTRIBUTING.md').includes(`Any Node from ${oldest} on`))
  assert.ok(textOf('CONTRIBUTING.md').includes(`| \`node\` | Node ${pinned} for every script`))
  assert.ok(Number(pinned) >= Number(oldest))
  assert.equal(facts.devDependencies['@types/node']?.split('.')[0], pinned)
})
