import { strict as assert } from 'node:assert'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PgnapError } from '../../base/errors.ts'
import { temporaryFolder } from '../../../test/support/temporary-folder.ts'
import { openLog } from './log.ts'
import type { LogOptions } from './log.ts'

function capture(options: LogOptions): { log: ReturnType<typeof openLog>; lines: string[] } {
  const lines: string[] = []
  const destination = { write: (line: string): void => void lines.push(line) }
  return { log: openLog({ ...options, destination }), lines }
}

test('json lines carry time, level, message, fields, and an error with its code and causes', () => {
  const { log, lines } = capture({ format: 'json', fields: { shard: 3 } })
  const cause = new Error('disk on fire')
  const error = new PgnapError('STORE_IO', 'cannot write', { cause, hint: 'look at the disk' })
  log.error('commit failed', { tenant: 'acme', error })
  const line = JSON.parse(lines[0] ?? '') as Record<string, unknown>
  assert.equal(line['level'], 'error')
  assert.equal(line['msg'], 'commit failed')
  assert.equal(line['shard'], 3)
  assert.equal(line['tenant'], 'acme')
  assert.ok(!Number.isNaN(Date.parse(String(line['time']))))
  const written = line['error'] as Record<string, unknown>
  assert.equal(written['code'], 'STORE_IO')
  assert.equal(written['hint'], 'look at the disk')
  assert.equal((written['cause'] as Record<string, unknown>)['message'], 'disk on fire')
})

test('a level keeps quieter lines out', () => {
  const { log, lines } = capture({ format: 'json', level: 'warn' })
  log.debug('no')
  log.info('no')
  log.warn('yes')
  log.error('yes')
  assert.equal(lines.length, 2)
  const silent = capture({ format: 'json', level: 'silent' })
  silent.log.error('no')
  assert.equal(silent.lines.length, 0)
})

test('pretty lines are one line each, whatever a client put into them', () => {
  const { log, lines } = capture({ format: 'pretty' })
  log.info('hello\n2026 error forged', { tenant: 'a\u001b[2Jb\nc', port: 6432 })
  assert.equal(lines.length, 1)
  const line = lines[0] ?? ''
  assert.match(line, /^\d\d:\d\d:\d\d\.\d{3} info {2}hello\\u000a2026 error forged tenant=/)
  assert.match(line, / port=6432\n$/)
  assert.equal(line.indexOf('\n'), line.length - 1)
  assert.ok(!line.includes('\u001b'))
})

test('a pretty error shows its stack below, indented', () => {
  const { log, lines } = capture({ format: 'pretty' })
  log.error('failed', { error: new Error('boom') })
  const [head, ...stack] = (lines[0] ?? '').trimEnd().split('\n')
  assert.match(head ?? '', /error failed error="boom"$/)
  assert.ok(stack.length > 1)
  assert.ok(stack.every((frame) => frame.startsWith('    ')))
})

test('lines written just before a process ends are not lost, and stdout stays empty', () => {
  const program = `
    const { openLog } = await import(${JSON.stringify(import.meta.resolve('./log.ts'))})
    const log = openLog()
    for (let line = 0; line < 500; line++) log.info('line', { line })
    process.exit(0)`
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', program])
  assert.equal(String(run.stdout), '')
  const lines = String(run.stderr).trimEnd().split('\n')
  assert.equal(lines.length, 500)
  assert.equal((JSON.parse(lines[499] ?? '') as { line: number }).line, 499)
})

test(
  'a log that cannot be written ends nothing, and what is kept comes when it can be',
  { skip: process.platform !== 'linux' && 'the disk that is full is Linux’s /dev/full' },
  () => {
    const program = `
      const { closeSync, openSync } = await import('node:fs')
      const { openLog } = await import(${JSON.stringify(import.meta.resolve('./log.ts'))})
      // Descriptor 2 becomes another file, as if its disk had filled up, and has room again.
      const reopen = (path) => {
        closeSync(2)
        if (openSync(path, 'a') !== 2) throw new Error('another descriptor')
      }
      const log = openLog({ format: 'json' })
      reopen('/dev/full')
      for (let line = 0; line < 20_000; line++) log.info('line', { line })
      await new Promise(setImmediate)
      reopen(process.argv[1])
      log.info('last')
      process.stdout.write('went on')`
    using folder = temporaryFolder()
    const path = join(folder.path, 'log')
    const words = ['--input-type=module', '-e', program, path]
    const run = spawnSync(process.execPath, words, { encoding: 'utf8' })
    assert.deepEqual([run.status, run.stdout], [0, 'went on'], run.stderr)
    const records = readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { line?: number; msg: string; count?: number })
    assert.equal(records.at(-1)?.msg, 'last')
    const told = records.at(-2)
    assert.match(String(told?.msg), /lines of this log could not be written and are lost/)
    const kept = records.slice(0, -2).map(({ line }) => line)
    assert.deepEqual(kept, [...kept.keys()], 'those that came first, in their order')
    assert.equal(kept.length + (told?.count ?? 0), 20_000)
    assert.ok(kept.length > 5000)
  },
)

/** Gives a program a terminal of its own. */
const SCRIPT = '/usr/bin/script'

test(
  'a terminal that is halted keeps nobody, and shows the rest when it goes on',
  { skip: !(process.platform === 'linux' && existsSync(SCRIPT)) && `there is no ${SCRIPT}` },
  async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'program.mjs')
    const mark = join(folder.path, 'mark')
    writeFileSync(
      path,
      `import { once } from 'node:events'
      import { writeFileSync } from 'node:fs'
      const { openLog } = await import(${JSON.stringify(import.meta.resolve('./log.ts'))})
      const log = openLog()
      log.info('first')
      // Said when the terminal is halted.
      await once(process.stdin, 'data')
      for (let line = 0; line < 1000; line++) log.info('line', { line })
      writeFileSync(${JSON.stringify(mark)}, 'went on')
      // What was kept comes with later lines.
      setInterval(() => log.info('later'), 5)`,
    )
    const command = `'${process.execPath}' '${path}'`
    using terminal = spawn(SCRIPT, ['-qefc', command, '/dev/null'], { stdio: 'pipe' })
    let shown = ''
    terminal.stdout.setEncoding('utf8').on('data', (some: string) => (shown += some))
    const [halt, goOn, line] = ['\u0013', '\u0011', '\n']
    await once(terminal.stdout, 'data')
    terminal.stdin.write(halt)
    terminal.stdin.write(line)
    while (!existsSync(mark)) await sleep(10)
    terminal.stdin.write(goOn)
    while (!/line line=999[^]*later/.test(shown)) await sleep(10)
  },
)
