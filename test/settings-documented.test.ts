/** Settings are in one table of the code; here the documents and the help are held against it. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { EXIT } from '../src/cli/failure.ts'
import { createProgram } from '../src/cli/program.ts'
import { silentTerminal } from './support/silent-terminal.ts'
import { DEFAULTS, SETTINGS, type Config, validate } from '../src/host/node/config.ts'

interface Documented {
  readonly flag: string
  readonly environment: string
  readonly key: keyof Config
  /** As text that sets it; undefined: `none`. */
  readonly default: string | undefined
}

/** What the machine decides has a default in words. */
const OF_THE_MACHINE: Readonly<Partial<Record<keyof Config, string>>> = {
  shards: 'one per core',
  clientBytesMax: '1GB, or an eighth of the memory if that is less',
}

/** The sections of docs/config.md, each of a setting. */
function documentedSettings(): Documented[] {
  const sections = readFileSync('docs/config.md', 'utf8').split(/^### /m).slice(1)
  return sections.map((section) => {
    const title = section.slice(0, section.indexOf('\n'))
    const [, flag = '', environment = '', key = ''] =
      /^Flag `--([a-z-]+)`.*?, environment `(\w+)`, key `(\w+)`/m.exec(section) ?? []
    assert.equal(flag, title, 'a section is named as its flag')
    const [, words] = /^Default: (.*)$/m.exec(section) ?? []
    assert.ok(words !== undefined, `${title} has a default`)
    const [, value] = /^`(.*)`$/.exec(words) ?? []
    const ofMachine = OF_THE_MACHINE[key as keyof Config]
    if (ofMachine !== undefined) assert.equal(words, ofMachine)
    else if (value === undefined) assert.match(words, /^none\b/)
    return { flag, environment, key: key as keyof Config, default: value }
  })
}

function program(): ReturnType<typeof createProgram> {
  return createProgram(silentTerminal)
}

/** The help of a verb, each option with its text on one line. */
function helpLines(...words: readonly string[]): string[] {
  let command = program()
  for (const word of words) {
    const found = command.commands.find((each) => each.name() === word)
    assert.ok(found, word)
    command = found
  }
  command.configureHelp({ helpWidth: 1_000 })
  return command.helpInformation().split('\n')
}

const VARIABLE = /\bPGNAP_[A-Z_]+/g
/** Of the program, and not settings. */
const OTHER_VARIABLES = ['PGNAP_CACHE', 'PGNAP_CONFIG', 'PGNAP_URL'] as const

suite('docs/config.md', () => {
  const documented = documentedSettings()

  test('has every setting with its flag, variable and key, and no other one', () => {
    const table = Object.entries(SETTINGS).map(([key, { flag, environment }]) =>
      [flag, environment, key].join(' '),
    )
    assert.deepEqual(
      documented.map(({ flag, environment, key }) => [flag, environment, key].join(' ')).toSorted(),
      table.toSorted(),
    )
  })

  test('has the defaults of the code', () => {
    for (const { key, default: words } of documented) {
      if (words === undefined) {
        if (!(key in OF_THE_MACHINE)) assert.equal(DEFAULTS[key], undefined, key)
        continue
      }
      // What is said must be what setting it to that would do.
      const together = key === 'createOnConnect' ? {} : { createOnConnect: false }
      assert.equal(validate({ ...together, [key]: words })[key], DEFAULTS[key], key)
    }
  })
})

suite('serve --help', () => {
  const lines = helpLines('serve')

  test('has every setting of docs/config.md, with its variable and its default', () => {
    for (const { flag, environment, key } of documentedSettings()) {
      const line = lines.find((each) => each.trimStart().startsWith(`--${flag} `))
      assert.ok(line?.includes(`(${environment}; default: `), flag)
      const [, words = ''] = /; default: (.*)\)$/.exec(line ?? '') ?? []
      const ofMachine = OF_THE_MACHINE[key]
      if (ofMachine !== undefined) assert.equal(words, ofMachine)
      else if (DEFAULTS[key] === undefined) assert.equal(words, 'none')
      else {
        const together = key === 'createOnConnect' ? {} : { createOnConnect: false }
        assert.equal(validate({ ...together, [key]: words })[key], DEFAULTS[key], flag)
      }
    }
  })

  test('says how to switch off what is on', () => {
    const opposites = lines.flatMap((line) => /^ +--no-([a-z-]+) /.exec(line)?.[1] ?? [])
    const on = Object.entries(SETTINGS).filter(([key]) => DEFAULTS[key as keyof Config] === true)
    assert.deepEqual(opposites.toSorted(), on.map(([, { flag }]) => flag).toSorted())
    assert.ok(opposites.includes('create-on-connect'))
  })
})

suite('the command line', () => {
  const files = ['README.md', 'SECURITY.md', 'CONTRIBUTING.md', ...globSync('docs/*.md')]
  const variablesIn = (paths: readonly string[]): string[] =>
    paths.flatMap((path) => readFileSync(path, 'utf8').match(VARIABLE) ?? [])

  test('has the variables that documents name', () => {
    const known = new Set([
      ...Object.values(SETTINGS).map(({ environment }) => environment),
      ...OTHER_VARIABLES,
      // What a Worker is told in `wrangler.jsonc`.
      ...variablesIn(globSync('src/host/cloudflare/**/*.ts')),
    ])
    for (const file of files) {
      for (const variable of variablesIn([file])) {
        assert.ok(known.has(variable), `${file}: ${variable}`)
      }
    }
  })

  test('reads no variable that no document names', () => {
    const documented = new Set(variablesIn(files))
    const code = globSync(['src/cli/*.ts', 'src/host/node/**/*.ts', 'src/*.ts'])
    const read = variablesIn(code.filter((file) => !file.endsWith('.test.ts')))
    assert.ok(read.includes('PGNAP_CACHE'))
    for (const variable of read) assert.ok(documented.has(variable), variable)
  })

  test('has the flags that docs/cli.md gives to a verb', () => {
    const text = readFileSync('docs/cli.md', 'utf8')
    for (const [, words = ''] of text.matchAll(/^ {4}pgnap (.*)$/gm)) {
      const [verb = '', then = ''] = words.split(' ')
      const help = helpLines(...(verb === 'tenant' ? [verb, then] : [verb])).join('\n')
      for (const [flag] of words.matchAll(/--[a-z-]+/g)) {
        assert.ok(help.includes(`${flag} `), `pgnap ${words}`)
      }
    }
    const { commands, options } = program()
    const verbs = commands.flatMap((verb) => [verb, ...verb.commands])
    const flags = [...options, ...verbs.flatMap((verb) => verb.options)].map(
      ({ long }) => long ?? '',
    )
    for (const [, flag = ''] of text.matchAll(/`(--[a-z-]+)[ `]/g)) {
      assert.ok(flags.includes(flag) || flag === '--help', flag)
    }
    const settings = Object.values(SETTINGS).flatMap(({ flag }) => [`--${flag}`, `--no-${flag}`])
    for (const flag of flags) {
      assert.ok(settings.includes(flag) || text.includes(flag), flag)
    }
  })

  test('has the exit codes of docs/cli.md', () => {
    const rows = readFileSync('docs/cli.md', 'utf8').matchAll(/^\| (\d+) \|/gm)
    const codes = [...rows].map(([, code]) => Number(code))
    assert.deepEqual(
      codes,
      Object.values(EXIT).toSorted((one, other) => one - other),
    )
  })

  test('has the verbs of docs/cli.md, and no other ones', () => {
    const rows = readFileSync('docs/cli.md', 'utf8').matchAll(/^\| `([a-z]+)([^`]*)` \|/gm)
    const listed = [...rows].flatMap(([, verb = '', rest = '']) =>
      verb === 'tenant'
        ? rest
            .trim()
            .split('\\|')
            .map((each) => `tenant ${each}`)
        : [verb],
    )
    const verbs = program().commands.flatMap((verb) =>
      verb.commands.length === 0
        ? [verb.name()]
        : verb.commands.map((inner) => `${verb.name()} ${inner.name()}`),
    )
    assert.deepEqual(listed.toSorted(), verbs.toSorted())
  })
})
