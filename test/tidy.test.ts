import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ERRORS } from '../src/base/errors.ts'
import { LIMITS } from '../src/base/limits.ts'
import { violations } from './tidy.ts'

const CODE = ['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', 'compat/*.ts', 'scripts/**/*.ts']

for (const file of globSync(CODE, { exclude: ['**/node_modules/**'] }).toSorted()) {
  test(`tidy ${file}`, () => {
    assert.deepEqual(violations(file, readFileSync(file, 'utf8')), [])
  })
}

// A wall that never refused anything may be missing.
test('tidy refuses what it should', () => {
  const refused = (file: string, source: string, why: RegExp): void => {
    assert.match(violations(file, source).join('\n'), why)
  }
  refused(
    'src/store/a.ts',
    "import { listen } from '../host/node/listen.ts'\n",
    /may not import host/,
  )
  refused('src/pool/a.ts', "import { Store } from '../store/store.ts'\n", /may not import store/)
  refused('src/pool/a.ts', "import { Hono } from 'hono'\n", /may not import the package hono/)
  refused('src/store/a.ts', "import fs from 'node:fs'\n", /belongs under src\/host/)
  refused('src/pool/a.ts', 'const t = Date.now()\n', /as arguments/)
  refused('src/misc/a.ts', '', /not a room/)
  refused('src/pool/a.ts', '\n'.repeat(500), /more than 500 lines/)
  refused('src/pool/a.ts', `// ${'x'.repeat(100)}\n`, /more than 100 columns/)
  refused('src/index.ts', '\n'.repeat(61), /only composes/)
  refused('src/pool/a.ts', '// TODO\n', /contains/)
  refused('bench/a.ts', `// ${'x'.repeat(100)}\n`, /more than 100 columns/)
  refused('test/a.test.ts', "test.only('a', () => {})\n", /contains/)
  refused('test/a.test.ts', "suite.skip('a', () => {})\n", /contains/)
  assert.deepEqual(violations('test/a.test.ts', "context.skip('not here')\n"), [])
})

const documented = (file: string): Set<string> =>
  new Set([...readFileSync(file, 'utf8').matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name ?? ''))

test('docs/errors.md lists the error table, both ways', () => {
  assert.deepEqual([...documented('docs/errors.md')].toSorted(), Object.keys(ERRORS).toSorted())
})

test('docs/errors.md gives each code its SQLSTATE and kind', () => {
  const text = readFileSync('docs/errors.md', 'utf8')
  for (const [code, { sqlState, kind }] of Object.entries(ERRORS)) {
    assert.match(text, new RegExp(`^\\| \`${code}\` \\| ${sqlState} \\| ${kind} \\|`, 'm'))
  }
})

test('docs/limits.md lists every limit, both ways', () => {
  assert.deepEqual([...documented('docs/limits.md')].toSorted(), Object.keys(LIMITS).toSorted())
})

test('every decision is numbered once', () => {
  const numbers = globSync('docs/decisions/*.md').map((path) => path.split('/').at(-1)?.slice(0, 4))
  assert.equal(new Set(numbers).size, numbers.length)
})
