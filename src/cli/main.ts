#!/usr/bin/env node
/**
 * The `pgnap` command: runs one verb and exits with its code.
 *
 * Says so if Node is too old before anything else is loaded: what is loaded would not even parse
 * there.
 */
import { enableCompileCache } from 'node:module'
import type { EarlyThread } from '../host/node/shard/shard-thread.ts'

const NODE_MAJOR_MIN = 24
const EXIT_USAGE = 2

if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR_MIN) {
  process.stderr.write(
    `pgnap needs Node ${NODE_MAJOR_MIN} or newer, this is ${process.versions.node}\n` +
      'hint: install a newer Node, or: npx --package=node@26 --package=pgnap pgnap\n',
  )
  process.exitCode = EXIT_USAGE
} else {
  // Parsed code is kept between starts: a quarter of a second of a start from source.
  enableCompileCache()
  const words = process.argv.slice(2)
  const thread = words[0] === 'serve' ? await earlyThread() : undefined
  const [{ run }, { processTerminal }] = await Promise.all([
    import('./program.ts'),
    import('./terminal.ts'),
  ])
  process.exitCode = await run(words, processTerminal, thread)
}

/** First of all: a server's thread loads its code while this one loads everything else. */
async function earlyThread(): Promise<EarlyThread> {
  const { EarlyThread } = await import('../host/node/shard/shard-thread.ts')
  return new EarlyThread()
}
