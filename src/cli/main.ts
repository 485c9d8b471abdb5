#!/usr/bin/env node
/** The `pgnap` command: runs one verb and exits with its code. */
import { run } from './program.ts'
import { processTerminal } from './terminal.ts'

process.exitCode = await run(process.argv.slice(2), processTerminal)
