/**
 * What is published: built, packed, installed into an empty folder and run there. Needs the package
 * registry for the dependencies, as any installation does.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { before, test } from 'node:test'
import { testFolder } from '../support/temporary-folder.ts'

const folder = testFolder()

/** Where an engine that had to be built would be kept, and compiled code is. */
const cache = join(folder, 'engine-cache')
/** Programs of npm run on the Node that runs this test. */
const environment = {
  ...process.env,
  PATH: `${dirname(process.execPath)}:${process.env['PATH']}`,
  PGNAP_CACHE: cache,
}
const run = (program: string, args: readonly string[], cwd: string): string =>
  execFileSync(program, args, {
    cwd,
    env: environment,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })

const command = join(folder, 'node_modules', '.bin', 'pgnap')

before(() => {
  run(process.execPath, ['scripts/build.ts'], process.cwd())
  run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], process.cwd())
  const [tarball = ''] = readdirSync(folder)
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  run(
    'npm',
    ['install', '--no-audit', '--no-fund', '--prefer-offline', join(folder, tarball)],
    folder,
  )
})

test('the installed command serves, and needs no build', async () => {
  const args = ['serve', '--port', '0', '--http-port', '0', '--json']
  const server = spawn(command, args, { cwd: folder, env: environment })
  try {
    const line = await new Promise<string>((resolve, reject) => {
      server.stdout.setEncoding('utf8').once('data', resolve)
      server.once('exit', (code) => reject(new Error(`ended with ${code}`)))
    })
    const { httpPort } = JSON.parse(line) as { httpPort: number }
    const url = `http://127.0.0.1:${httpPort}`
    const out = run(command, ['sql', 'acme', 'select 6 * 7 as n', '--json', '--url', url], folder)
    assert.match(out, /42/)
  } finally {
    server.kill('SIGTERM')
    await new Promise((resolve) => server.once('exit', resolve))
  }
  // Nothing was built: the engine came with the package.
  assert.deepEqual(readdirSync(cache), ['code'])
})

test('the installed command dumps and restores, and needs no program of Postgres', () => {
  const bare = { ...environment, PATH: dirname(process.execPath) }
  const pgnap = (...words: string[]): string =>
    execFileSync(process.execPath, [command, ...words, '--data', 'dumped'], {
      cwd: folder,
      env: bare,
      encoding: 'utf8',
    })
  pgnap('sql', 'acme', "create table t as select 'here' as x")
  pgnap('dump', 'acme', '--output', 'acme.sql')
  pgnap('tenant', 'create', 'other')
  assert.match(pgnap('restore', 'other', 'acme.sql'), /^other is restored: .* 1 row copied\n$/)
  assert.match(pgnap('sql', 'other', 'select * from t'), /here/)
})

test('the installed library opens a folder and answers', () => {
  writeFileSync(
    join(folder, 'use.mjs'),
    `import { openPgnap } from 'pgnap'
     const nap = await openPgnap({ data: './library-data' })
     const { rows } = await nap.tenant('acme').query('select $1::int + 1 as n', [41])
     console.log(JSON.stringify(rows))
     await nap.close()`,
  )
  assert.equal(run(process.execPath, ['use.mjs'], folder).trim(), '[{"n":42}]')
})

test('its types are usable by a program that knows nothing of this repository', () => {
  writeFileSync(
    join(folder, 'use.ts'),
    `import { openPgnap, PgnapError, type Pgnap } from 'pgnap'
     import { startServer } from 'pgnap/node'
     const nap: Pgnap = await openPgnap()
     // @ts-expect-error the answer of a query is no number
     const wrong: number = await nap.tenant('a').query('select 1')
     console.log(wrong, PgnapError, startServer)`,
  )
  const options = [
    '--noEmit',
    '--strict',
    '--skipLibCheck',
    '--module',
    'nodenext',
    '--target',
    'esnext',
  ]
  run(
    process.execPath,
    [join(process.cwd(), 'node_modules/typescript/bin/tsc'), ...options, 'use.ts'],
    folder,
  )
})
