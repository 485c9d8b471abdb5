/**
 * Bundles the program: a start loads a dozen files instead of three hundred, which is a third of
 * the time to the first row (docs/decisions/0008). One bundle per thread and process, because what
 * they share is little and a start reads each of them once:
 *
 *     cli/*.js, index.js, node.js      main thread: command line and library, with shared chunks
 *     serve-body.cjs                   the same of a server, as one script
 *     worker-main.js, worker-body.cjs  a shard's thread: its beginning, and the rest as one script
 *     build-main.js                    the engine build, a process of its own
 *     pg-dump-thread.js, pg-dump/      the thread of a pg_dump, and the program itself, as it came
 *
 * PGlite stays outside: its files are read as npm installed them. Everything else that is imported
 * is bundled, unminified, so that a stack names what it names in the source.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Script } from 'node:vm'
import { rolldown, type Plugin } from 'rolldown'
import {
  PG_DUMP_FILES,
  PG_DUMP_FOLDER,
  PG_DUMP_PACKAGE,
} from '../src/host/node/dump/pg-dump-files.ts'
import { folderOf } from '../src/host/node/engine/stock-folder.ts'

/** What is run as a script (`kept-code.ts`), and therefore has to be in one piece. */
const SCRIPTS: readonly string[] = ['serve-body', 'worker-body']

const PROGRAMS: readonly Readonly<Record<string, string>>[] = [
  {
    'cli/main': 'src/cli/main.ts',
    'cli/command': 'src/cli/command.ts',
    index: 'src/index.ts',
    node: 'src/node.ts',
  },
  { 'serve-body': 'src/serve-body.ts' },
  { 'worker-main': 'src/host/node/shard/worker-main.ts' },
  { 'worker-body': 'src/host/node/shard/worker-body.ts' },
  { 'build-main': 'src/host/node/engine/build-main.ts' },
  { 'pg-dump-thread': 'src/host/node/dump/pg-dump-thread.ts' },
]

/** `import NAMES from "node:MODULE";` as the bundler writes it, a line of its own. */
const BUILTIN_IMPORT = /^import (.+) from "(node:[^"]+)";$/gm

/** `let NAME = require("node:MODULE");` as the bundler writes it in a script; it may be wrapped. */
const BUILTIN_REQUIRE = /^let (\w+) = (require\("node:[^"]+"\));\n(?:\1 = __toESM\(\1, 1\);\n)?/gm

/** Writes the bundles into `folder`; the folders of the packages that are in them. */
export async function bundle(folder: string): Promise<ReadonlySet<string>> {
  const packages = new Set<string>()
  for (const input of PROGRAMS) {
    const isScript = SCRIPTS.some((name) => name in input)
    await using build = await rolldown({
      input,
      platform: 'node',
      external: [/^node:/, /^@electric-sql\//],
      plugins: [plainBuiltins],
    })
    const { output } = await build.generate({
      format: isScript ? 'cjs' : 'esm',
      ...(isScript ? { codeSplitting: false } : {}),
      entryFileNames: isScript ? '[name].cjs' : '[name].js',
      // Beside the entries: a module finds the program of a worker beside itself.
      chunkFileNames: '[name]-[hash].js',
    })
    for (const part of output) {
      if (part.type !== 'chunk') throw new Error(`${part.fileName} is no code`)
      if (isScript && part.dynamicImports.length > 0) {
        throw new Error(`a script cannot import: ${part.dynamicImports.join(' ')}`)
      }
      const file = join(folder, part.fileName)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, ascii(isScript ? withLateBuiltins(part.code) : part.code))
      for (const id of part.moduleIds) {
        const owner = packageOf(id)
        if (owner !== undefined) packages.add(owner)
      }
    }
  }
  const pgDump = copyPgDump(folder)
  if (pgDump !== undefined) packages.add(pgDump)
  return packages
}

/** Copies it beside the programs; the folder of its package. */
function copyPgDump(folder: string): string | undefined {
  const source = folderOf(PG_DUMP_PACKAGE)
  mkdirSync(join(folder, PG_DUMP_FOLDER), { recursive: true })
  for (const name of PG_DUMP_FILES) {
    copyFileSync(join(source, name), join(folder, PG_DUMP_FOLDER, name))
  }
  return packageOf(source)
}

/**
 * Takes Node's own modules from `process.getBuiltinModule`. An ESM import evaluates every export of
 * such a module, also those that are getters for what is rarely needed: `node:http` loads undici
 * for its WebSocket and takes 38 ms instead of 4, in every start.
 */
const plainBuiltins: Plugin = {
  name: 'plain-builtins',
  renderChunk(code, { fileName }) {
    const plain = code.replaceAll(BUILTIN_IMPORT, (_, names: string, module: string) =>
      declaration(names, `process.getBuiltinModule("${module}")`),
    )
    if (/^(import|export)\b.*"node:/m.test(plain)) {
      throw new Error(`${fileName}: an import of a builtin in a form that is not known here`)
    }
    return { code: plain }
  },
}

/**
 * Asks for a builtin when it is first used, as modules do that are loaded late: of those that a
 * server can use at all a start needs half, and they take 20 ms.
 */
function withLateBuiltins(code: string): string {
  const names: string[] = []
  const late = code.replaceAll(BUILTIN_REQUIRE, (all, name: string, required: string) => {
    names.push(name)
    const value = all.includes('__toESM') ? `__toESM(${required}, 1)` : required
    return `const ${name} = __late(() => ${value});\n`
  })
  const used = names.join('|')
  const calls = late.replaceAll(
    new RegExp(`\\b(new )?(${used})\\b(?! = __late)`, 'g'),
    (_, isNew: string | undefined, name: string) => (isNew ? `new (${name}())` : `${name}()`),
  )
  const helper = 'const __late = (load) => { let value; return () => (value ??= load()) };'
  const script = `${helper}\n${calls}`
  const isLeft = /^(?:let|var|const) \w+ = require\("node:/m.test(script)
  if (isLeft || names.length === 0) throw new Error('a script asks for builtins in a new form')
  // Compiled only: a use that cannot be a call is a syntax error, here and not in every start.
  void new Script(`(function (require, __filename, __dirname) {${script}\n})`)
  return script
}

/**
 * Escapes what is not ASCII: one such character, in a message, makes V8 keep and compile a whole
 * file with two bytes for each.
 */
function ascii(code: string): string {
  return code.replaceAll(/[\u0080-\uffff]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/** What `import NAMES from` declares, as constants made of `value`. */
function declaration(names: string, value: string): string {
  const parts = /^([\w$]+)?(?:, )?(?:\{ (.*) \}|\* as (\S+))?$/.exec(names)
  if (!parts) throw new Error(`an import that is not known here: ${names}`)
  const [, standard, named, all] = parts
  const constants: string[] = []
  for (const name of [standard, all]) if (name !== undefined) constants.push(`${name} = ${value}`)
  if (named !== undefined) constants.push(`{ ${named.replaceAll(' as ', ': ')} } = ${value}`)
  return `const ${constants.join(', ')};`
}

/** The folder of the npm package that a module belongs to. */
function packageOf(id: string): string | undefined {
  const found = /^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/.exec(id)?.[0]
  return found?.replace(/^\0/, '')
}

/** The licences of bundled packages, as each of them asks for with every copy. */
export function licenceText(packages: ReadonlySet<string>): string {
  const texts = [...packages].toSorted().map((folder) => {
    const facts = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      name: string
      version: string
      license: string
    }
    const file = ['LICENSE', 'LICENSE.md', 'license', 'LICENCE'].find((name) =>
      existsSync(join(folder, name)),
    )
    if (file === undefined) throw new Error(`${facts.name} has no licence file`)
    const text = readFileSync(join(folder, file), 'utf8').trim()
    return `${facts.name} ${facts.version} (${facts.license})\n\n${text}\n`
  })
  return `pgnap contains code of these packages.\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`
}
