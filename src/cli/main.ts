#!/usr/bin/env node
/**
 * The `pgnap` command. Says so if Node is too old before anything else is loaded: what is loaded
 * would not even parse there.
 */
const NODE_MAJOR_MIN = 24
const EXIT_USAGE = 2

if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR_MIN) {
  process.stderr.write(
    `pgnap needs Node ${NODE_MAJOR_MIN} or newer, this is ${process.versions.node}\n` +
      'hint: install a newer Node, or: npx --package=node@26 --package=pgnap pgnap\n',
  )
  process.exitCode = EXIT_USAGE
} else {
  await import('./command.ts')
}
