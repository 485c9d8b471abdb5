import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ERRORS } from '../src/base/errors.ts'
import { LIMITS } from '../src/base/limits.ts'
import { MAY_IMPORT, PACKAGES, violations } from './tidy.ts'

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
  refused('src/host/a.ts', 'await this.#client.run(a, true)\n', /keptBytes/)
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

test('docs/architecture.md draws the walls that are here', () => {
  const rows = readFileSync('docs/architecture.md', 'utf8').matchAll(
    /^\| (\w+) \| ([^|]+) \| ([^|]+) \|$/gm,
  )
  const drawn = [...rows].filter(([, room = '']) => room in MAY_IMPORT)
  assert.deepEqual(
    drawn.map(([, room]) => room),
    Object.keys(MAY_IMPORT),
  )
  const namesOf = (cell: string): string[] => (cell === '-' ? [] : cell.split(', '))
  drawn.forEach(([, room = '', rooms = '', packages = ''], index) => {
    const above = drawn.slice(0, index).map(([, each]) => each)
    const may = rooms === 'all of the above' ? above : namesOf(rooms)
    assert.deepEqual(may, MAY_IMPORT[room], room)
    // What a script makes for a bundle is no package.
    const foreign = (PACKAGES[room] ?? []).filter((name) => !name.startsWith('pgnap:'))
    assert.deepEqual(namesOf(packages).toSorted(), foreign.toSorted(), room)
  })
})

/** Units of limits in prose. A comma in a number parts its thousands. */
const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  min: 60_000,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
}

test('documents that give the value of a limit beside its name give the one it has', () => {
  const files = globSync(['*.md', 'docs/*.md'], { exclude: ['CHANGELOG.md'] })
  let count = 0
  for (const file of files) {
    const said = readFileSync(file, 'utf8').matchAll(/`(\w+)` \((\d[\d,.]*)(?: (\w+))?[,)]/g)
    for (const [words, name = '', digits = '', unit] of said) {
      if (!(name in LIMITS)) continue
      const factor = unit === undefined ? 1 : UNITS[unit]
      assert.ok(factor !== undefined, `${file}: ${words}`)
      const value = Number(digits.replaceAll(',', '')) * factor
      assert.equal(value, LIMITS[name as keyof typeof LIMITS], `${file}: ${words}`)
      count++
    }
  }
  assert.ok(count >= 3, `${count} were found`)
})
