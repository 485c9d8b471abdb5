/** What the two Prisma programs share: a schema in their folder, and the CLI on it. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { folder, output } from './tool.mjs'

const INSTALLED = join(import.meta.dirname, '../node_modules')
const CONFIG = join(import.meta.dirname, 'prisma.config.mjs')

/**
 * For the CLI of Prisma 6: without the address, which it does not use beside an adapter, and
 * without a generator that needs no query engine it would look for another program of its own.
 */
export function writeSchema(models) {
  const generator = 'generator client {\n provider = "prisma-client-js"\n engineType = "client"\n}'
  const source = 'datasource db {\n provider = "postgresql"\n url = "postgresql://unused"\n}'
  writeFileSync(join(folder, 'schema.prisma'), [generator, source, models].join('\n'))
}

/** For the CLI of Prisma 7, which wants no address, and for its new generator. */
export function writeClientSchema(models) {
  const generator = `generator client {
 provider = "prisma-client"
 output = "./client"
 moduleFormat = "esm"
 generatedFileExtension = "ts"
 importFileExtension = "ts"
}`
  const source = 'datasource db {\n provider = "postgresql"\n}'
  writeFileSync(join(folder, 'schema.prisma'), [generator, source, models].join('\n'))
}

/** The CLI of Prisma 6, whose schema engine is WASM. Times, paths and advice are left out. */
export function migrate(...args) {
  const text = output(
    process.execPath,
    [join(INSTALLED, 'prisma-6/build/index.js'), ...args, '--config', CONFIG],
    { env: { NO_COLOR: '1', PRISMA_HIDE_UPDATE_MESSAGE: '1', CI: '1' }, timeout: 60_000 },
  )
  const lines = text
    .replaceAll(relative(process.cwd(), folder), '.')
    .replaceAll(folder, '.')
    .replaceAll(/20[23]\d{11}_/g, 'TIME_')
    .replaceAll(/[-\d]{10} [:.\d]{8,12} UTC/g, 'TIME')
    .replaceAll(/in \d+(\.\d+)?m?s/g, 'in TIME')
    .split('\n')
  return lines.filter((line) => line.trim() !== '' && !ADVICE.test(line)).join('\n')
}

const ADVICE = /^(WARNING: Your schema|- url|The values from|We recommend|Loaded|Prisma )|pris\.ly/

/** Makes Prisma 7's client, in TypeScript, and loads it. */
export async function generateClient() {
  symlinkSync(INSTALLED, join(folder, 'node_modules'))
  mkdirSync(join(folder, 'seven'))
  const config = join(folder, 'seven', 'prisma.config.mjs')
  writeFileSync(
    config,
    `export default { schema: ${JSON.stringify(join(folder, 'schema.prisma'))} }`,
  )
  const text = output(
    process.execPath,
    [join(INSTALLED, 'prisma/build/index.js'), 'generate', '--config', config],
    // It looks for the engine's program first, and does not start it to generate.
    { env: { NO_COLOR: '1', PRISMA_SCHEMA_ENGINE_BINARY: process.execPath } },
  )
  try {
    return await import(join(folder, 'client', 'client.ts'))
  } catch (error) {
    throw new Error(`no client was generated: ${text}`, { cause: error })
  }
}
