/** A hint names the next command, so that command has to be there. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { silentTerminal } from '../../test/support/silent-terminal.ts'
import { createProgram } from './program.ts'

const SOURCES = join(import.meta.dirname, '..')
const HINT = /\bhint:\s*(.*)/g
/** Quoted, or after what leads to it; prose speaks of pgnap without either. */
const COMMAND = /["'`:;(] ?pgnap ([a-z]+)(?: ([a-z]+))?/g

test('every verb of pgnap that a hint names exists', () => {
  const program = createProgram(silentTerminal)
  const exists = (verb: string, then: string | undefined): boolean => {
    const found = program.commands.find((command) => command.name() === verb)
    if (!found || found.commands.length === 0 || then === undefined) return found !== undefined
    return found.commands.some((command) => command.name() === then)
  }
  const named: string[] = []
  for (const file of globSync('**/*.ts', { cwd: SOURCES })) {
    if (file.endsWith('.test.ts')) continue
    const text = readFileSync(join(SOURCES, file), 'utf8')
    for (const [, hint = ''] of text.matchAll(HINT)) {
      for (const [command, verb = '', then] of hint.matchAll(COMMAND)) {
        named.push(verb)
        assert.ok(exists(verb, then), `${file} names a command that is not there: ${command}`)
      }
    }
  }
  assert.ok(named.includes('tenant') && named.includes('verify'), 'hints were found at all')
})
