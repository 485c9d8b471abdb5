import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'

test('whoever reads a few lines and goes ends nothing in the middle', async () => {
  const code = `import { processTerminal } from './terminal.ts'
    for (let line = 0; line < 20_000; line++) processTerminal.out('a line of an answer\\n')
    processTerminal.complain('to its end\\n')`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let complaints = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text))
  child.stdout.once('data', () => child.stdout.destroy())
  const [status] = (await once(child, 'close')) as [number | null]
  assert.deepEqual([status, complaints], [0, 'to its end\n'])
})
