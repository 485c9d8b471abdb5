/**
 * The engine build as a program: `node build-main.ts OUTPUT`. A process of its own, because it
 * freezes clocks and randomness. Prints the name of each step as a line on stdout.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { buildAssets } from '../../../engine/build-assets.ts'
import { serializeAssets } from '../../../engine/engine-assets.ts'
import { systemClock } from '../clock.ts'
import { freezeWorld } from './frozen-world.ts'
import { loadFactory, readStock } from './stock.ts'

const output = process.argv[2]
if (output === undefined) throw new Error('usage: build-main OUTPUT')
freezeWorld()
const assets = await buildAssets({
  stock: readStock(),
  factory: loadFactory(),
  compile: (bytes) => new WebAssembly.Module(bytes),
  clock: systemClock,
  progress: (step) => process.stdout.write(`${step}\n`),
})
// Written beside its final name and renamed: a reader sees a whole file or none.
const partial = `${output}.${process.pid}`
writeFileSync(partial, await serializeAssets(assets))
renameSync(partial, output)
process.exit(0)
