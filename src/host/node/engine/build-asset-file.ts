/**
 * The build of the engine's assets, in a process of its own. Loaded by who builds: a start that
 * finds them need not wait for what it takes to run a process.
 */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { PgnapError } from '../../../base/errors.ts'
import { besideModule } from '../module-url.ts'

/**
 * Builds the assets of this checkout or package into a file.
 * @throws PgnapError ENGINE_ASSETS_INVALID
 */
export async function buildAssetFile(
  output: string,
  progress: (step: string) => void,
): Promise<void> {
  const folder = dirname(output)
  mkdirSync(folder, { recursive: true })
  const program = fileURLToPath(besideModule(import.meta.url, './build-main'))
  const child = spawn(process.execPath, [program, output], { stdio: ['ignore', 'pipe', 'pipe'] })
  const complaints: string[] = []
  child.stderr.setEncoding('utf8').on('data', (text: string) => complaints.push(text))
  createInterface(child.stdout).on('line', progress)
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (status !== 0) {
    throw new PgnapError('ENGINE_ASSETS_INVALID', 'the engine could not be built', {
      detail: complaints.join('').slice(-2000),
      hint: `check that ${folder} is writable and has 40 MB to spare, or install pgnap anew`,
    })
  }
}
