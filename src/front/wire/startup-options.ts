/**
 * Settings that a client asks for at startup, from the text of `options` to the SQL that applies
 * them. Values come from outside and end in SQL that runs before the client has said anything else,
 * so each one is quoted here and nowhere else.
 */
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { quoteIdentifier } from '../../base/sql-name.ts'

export interface StartupOptions {
  readonly settings: readonly (readonly [name: string, value: string])[]
  /** Undefined if no word names one. */
  readonly endpoint: string | undefined
}

/**
 * The settings inside the startup parameter `options`: `-c name=value`, `-cname=value`,
 * `--name=value`; words are parted by space, a backslash keeps the character after it.
 * `endpoint=NAME` and `project=NAME` stand among them where Neon's clients choose a database.
 * Throws COMMAND_INVALID for any other word, TENANT_CONFLICT for two endpoints.
 */
export function splitOptions(options: string): StartupOptions {
  const settings: [string, string][] = []
  let endpoint: string | undefined
  const words = splitWords(options)
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? ''
    if (word === '-c') settings.push(parseSetting(words[++index], '-c ', word))
    else if (word.startsWith('-c')) settings.push(parseSetting(word.slice(2), '-c ', word))
    else if (word.startsWith('--')) settings.push(parseSetting(word.slice(2), '--', word))
    else {
      const name = /^(?:endpoint|project)=(.*)$/s.exec(word)?.[1]
      if (name === undefined) throw optionError(word)
      if (endpoint !== undefined && endpoint !== name) throw twoEndpoints(endpoint, name)
      endpoint = name
    }
  }
  return { settings, endpoint }
}

/** One statement per setting, joined, or an empty text for no settings. */
export function settingsSql(parameters: ReadonlyMap<string, string>): string {
  let sql = ''
  for (const [name, value] of parameters) sql += `${settingSql(name, value)};`
  return sql
}

/** SQL's form of a text, right whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`
  return text.includes('\\') ? `E${quoted}` : quoted
}

/**
 * Settings whose values are lists of names: SET would take one quoted text for one name. (Other
 * lists, as DateStyle, are read from one text.)
 */
const NAME_LISTS: ReadonlySet<string> = new Set(['search_path', 'temp_tablespaces'])

function settingSql(name: string, value: string): string {
  const text = quoteLiteral(value)
  // Whatever the search path of the database has in it; and the list stays as it was written.
  return NAME_LISTS.has(name)
    ? `SELECT pg_catalog.set_config(${quoteLiteral(name)},${text},false)`
    : `SET ${quoteIdentifier(name)} TO ${text}`
}

// Blank is what Postgres takes for it, space and \t to \r: \s would add U+00A0 and U+FEFF.
function splitWords(options: string): string[] {
  const words: string[] = []
  for (const match of options.matchAll(/(?:[^ \t-\r\\]|\\[\s\S])+/g)) {
    words.push(match[0].replaceAll(/\\([\s\S])/g, '$1'))
  }
  return words
}

function parseSetting(text: string | undefined, flag: string, word: string): [string, string] {
  if (text === undefined || text === '') throw optionError(word)
  const equals = text.indexOf('=')
  if (equals <= 0) throw wordError(`${flag}${shown(text)} requires a value`)
  return [text.slice(0, equals).replaceAll('-', '_').toLowerCase(), text.slice(equals + 1)]
}

function twoEndpoints(one: string, other: string): PgnapError {
  const names = [one, other].map((name) => JSON.stringify(name.slice(0, LIMITS.tenantNameCharsMax)))
  return new PgnapError(
    'TENANT_CONFLICT',
    `the startup options name two databases: ${names.join(' and ')}`,
    { hint: 'write endpoint=NAME once' },
  )
}

function optionError(word: string): PgnapError {
  return wordError(`invalid command-line argument for server process: ${shown(word)}`)
}

function wordError(text: string): PgnapError {
  return new PgnapError('COMMAND_INVALID', text, {
    hint: 'in startup options, write settings as -c name=value or --name=value',
  })
}

function shown(word: string): string {
  return word.slice(0, LIMITS.tenantNameCharsMax)
}
