/** Runs one verb, and exits with its code. */
import { keepCompiledCode } from '../host/node/cache-folder.ts'
import { runBeside } from '../host/node/kept-code.ts'
import { makeRoom } from '../host/node/v8-flags.ts'

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
