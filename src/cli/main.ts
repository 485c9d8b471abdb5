#!/usr/bin/env node
/**
 * The `pgnap` command: runs one verb and exits with its code.
 *
 * Says so if Node is too old before anything else is loaded: what is loaded would not even parse
 * there.
 */
import { keepCompiledCode } from '../host/node/cache-folder.ts'
import { runBeside } from '../host/node/kept-code.ts'
import { makeRoom } from '../host/node/v8-flags.ts'

const NODE_MAJOR_MIN = 24
const EXIT_USAGE = 2

if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR_MIN) {
  process.stderr.write(
    `pgnap needs Node ${NODE_MAJOR_MIN} or newer, this is ${process.versions.node}\n` +
      'hint: install a newer Node, or: npx --package=node@26 --package=pgnap pgnap\n',
  )
  process.exitCode = EXIT_USAGE
} else {
  makeRoom()
  // Parsed code is kept between starts: a quarter of a second of a start from source.
  keepCompiledCode()
  const words = process.argv.slice(2)
  if (words[0] === 'serve') {
    await runBeside(import.meta.url, '../serve-body')
  } else {
    const [{ run }, { processTerminal }] = await Promise.all([
      import('./program.ts'),
      import('./terminal.ts'),
    ])
    process.exitCode = await run(words, processTerminal)
  }
}
