/** The verb runs a program of its own, so it is run as a user would. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runProgram } from '../../test/support/server.ts'

test('pgnap bench passes on what its benchmark says of wrong usage, which is 2', async () => {
  for (const [words, complaint] of [
    [['nosuchrow'], /^there is no row called nosuchrow\n/],
    [['create', '--rounds', 'many'], /^--rounds takes a whole number above 0\n/],
    [['--nosuchflag'], /^Unknown option '--nosuchflag'/],
    [['--peers', 'nobody', '--smoke'], /^peers are: pgnap, /],
    [['point', '--write'], /^--write is for a run of all rows and peers\n/],
  ] as const) {
    const { status, stdout, stderr } = await runProgram(['bench', ...words])
    assert.deepEqual([status, stdout], [2, ''], stderr)
    assert.match(stderr, complaint)
    assert.match(stderr, /\nusage: npm run bench -- /)
    assert.doesNotMatch(stderr, /a bug|INTERNAL/)
  }
})

test('a benchmark that fails is 1, in its own words', async () => {
  const words = ['bench', 'create', '--smoke', '--peers', 'pgnap', '--pgnap', '/dev/null']
  const { status, stdout, stderr } = await runProgram(words)
  assert.equal(status, 1, stderr)
  assert.match(stdout, /FAILED pgnap/)
  assert.doesNotMatch(stderr, /a bug|INTERNAL/)
})
