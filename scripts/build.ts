/**
 * Builds what is published: `dist/` with the bundled program (`bundle.ts`), types from tsc, and the
 * engine's assets, so that `npx pgnap` in an empty folder starts without building anything.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { digestsOf, fingerprintOf } from '../src/engine/engine-assets.ts'
import { assetFileName } from '../src/host/node/engine/asset-cache.ts'
import { buildAssetFile } from '../src/host/node/engine/build-asset-file.ts'
import { readStock } from '../src/host/node/engine/stock.ts'
import { bundle, licenceText } from './bundle.ts'

const say = (line: string): void => void process.stdout.write(`${line}\n`)

rmSync('dist', { recursive: true, force: true })
say('compiling types')
const { status } = spawnSync(
  process.execPath,
  ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'],
  {
    stdio: 'inherit',
  },
)
if (status !== 0) process.exit(status ?? 1)
say('bundling')
const packages = await bundle('dist')
writeFileSync(join('dist', 'THIRD-PARTY-LICENSES.txt'), licenceText(packages))
chmodSync(join('dist', 'cli', 'main.js'), 0o755)
say('building the engine')
const fingerprint = await fingerprintOf(await digestsOf(readStock()))
const assets = join('dist', 'assets', assetFileName(fingerprint))
await buildAssetFile(assets, (step) => say(`  ${step}`))
say('done')
