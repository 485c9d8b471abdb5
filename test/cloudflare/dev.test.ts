/** `npm run dev:cloudflare`, as its user has it. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'
import { temporaryFolder } from '../support/temporary-folder.ts'

const SCRIPT = fileURLToPath(new URL('../../scripts/dev-cloudflare.ts', import.meta.url))
const TOKEN = 'a-token-of-more-than-sixteen-characters'

interface Running {
  readonly url: string
  readonly child: ChildProcess
}

async function start(folder: string, ...flags: readonly string[]): Promise<Running> {
  const child = spawn(process.execPath, [SCRIPT, '--port', '0', '--data', folder, ...flags], {
    env: { ...process.env, PGNAP_ADMIN_TOKEN: TOKEN },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const { promise, resolve } = Promise.withResolvers<string>()
  let said = ''
  child.stdout.on('data', (chunk) => {
    said += String(chunk)
    const url = /^listening on (\S+)$/m.exec(said)?.[1]
    if (url !== undefined) resolve(url)
  })
  const ended = once(child, 'exit').then(() => {
    throw new Error(`it does not listen: ${said}`)
  })
  return { url: await Promise.race([promise, ended]), child }
}

async function ask({ url }: Running, path: string, sql: string): Promise<unknown> {
  const headers = { authorization: `Bearer ${TOKEN}`, connection: 'close' }
  const init = { method: 'POST', headers, body: JSON.stringify({ sql }) }
  const answer = await fetch(new URL(path, url), init)
  const text = await answer.text()
  assert.equal(answer.status, 200, text)
  return (JSON.parse(text) as { rows: unknown }).rows
}

async function end({ child }: Running): Promise<void> {
  const exited = once(child, 'exit')
  child.kill('SIGINT')
  // Miniflare ends the process itself, as a shell would say that it was interrupted.
  const [code] = (await exited) as [number | null]
  assert.ok(code === 0 || code === 130, `${code}`)
}

test('it serves with the settings of its environment, and keeps its data', async () => {
  using folder = temporaryFolder()
  const path = '/v1/tenants/acme/query'
  const first = await start(folder.path)
  assert.equal((await fetch(new URL('/v1/tenants', first.url))).status, 401)
  await ask(first, path, 'create table t as select 1 as n')
  await end(first)
  const second = await start(folder.path, '--architectures')
  await ask(second, '/sqlite/query', 'create table t(n)')
  assert.deepEqual(await ask(second, path, "select to_regclass('t') is null as gone"), [
    { gone: true },
  ])
  await end(second)
  const third = await start(folder.path)
  assert.deepEqual(await ask(third, path, 'select n from t'), [{ n: 1 }])
  await end(third)
})

test('a port that is none is refused', async () => {
  const child = spawn(process.execPath, [SCRIPT, '--port', 'any'], { stdio: 'ignore' })
  assert.deepEqual(await once(child, 'exit'), [2, null])
})
