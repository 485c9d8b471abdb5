/**
 * Checks properties of the code itself: which room may import which room and which package, how
 * long a file may be, that pure rooms take clocks and randomness as arguments. The tables below ARE
 * the architecture; docs/architecture.md draws it. Change both or neither.
 */
import { dirname, join, normalize } from 'node:path'

/** Rooms in the order in which a query walks them, and what each may import. */
export const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  medium: ['base'],
  store: ['base', 'medium'],
  replica: ['base', 'store'],
  engine: ['base', 'store'],
  pool: ['base', 'engine'],
  router: ['base', 'pool'],
  front: ['base', 'router'],
  host: ['base', 'medium', 'store', 'replica', 'engine', 'pool', 'router', 'front'],
  cli: ['base', 'host'],
}

/** Which room may import which npm package: the one that owns the task. */
export const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  engine: ['@electric-sql/pglite'],
  router: ['jose'],
  front: ['hono'],
  host: [
    'hono',
    '@hono/node-server',
    'pino',
    'prom-client',
    'valibot',
    'ws',
    // What scripts/cloudflare/bundle.ts makes.
    'pgnap:engine',
    'pgnap:modules',
    'pgnap:sql-js',
    'pgnap:version',
    'sql.js',
  ],
  cli: ['commander'],
}

/** Published entry points: compose and re-export, nothing else. */
const ENTRY_POINTS = new Set(
  ['index', 'node', 'cloudflare', 'serve-body'].map((name) => `src/${name}.ts`),
)
const ENTRY_LINES_MAX = 60
const LINES_MAX = 500
const COLUMNS_MAX = 100
const HOSTED = new Set(['host', 'cli'])
const BANNED_IN_PURE_ROOMS = [/\bDate\.now\(/, /\bMath\.random\(/, /\bsetTimeout\(/, /\bconsole\./]
/** What must never stand in the repository: a task that is not done, or a check switched off. */
const BANNED_EVERYWHERE = [
  /\bTODO\b/,
  /\bFIXME\b/,
  /\bXXX\b/,
  /@ts-ignore/,
  // Not `context.skip(reason)`, by which a test says what it cannot show here.
  /\b(?:test|describe|it|suite)\.(?:skip|only)\(/,
]
/** A direct answer is a view: whoever awaits it would read what came after it. See `keptBytes`. */
const AWAITED_VIEW = /await [\w.#]*client\.(?:run|begin)\(/i

/** They cannot but name what is banned. */
const MAY_NAME_BANNED = new Set(['test/tidy.ts', 'test/tidy.test.ts'])

const IMPORT =
  /^\s*(?:import|export)\b[^'"]*?from '([^']+)'|\bimport\('([^']+)'\)|^import '([^']+)'/gm

const roomOf = (path: string): string => path.split('/')[1] ?? ''
const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')

/** Everything wrong with one file, one sentence each. Rooms are those of src/. */
export function violations(file: string, source: string): string[] {
  const lines = source.split('\n')
  const found: string[] = []
  if (lines.length > LINES_MAX) found.push(`${file}: more than ${LINES_MAX} lines`)
  lines.forEach((line, index) => {
    if (line.length > COLUMNS_MAX)
      found.push(`${file}:${index + 1}: more than ${COLUMNS_MAX} columns`)
  })
  for (const banned of MAY_NAME_BANNED.has(file) ? [] : BANNED_EVERYWHERE) {
    if (banned.test(source)) found.push(`${file}: contains ${banned.source}`)
  }
  if (!file.startsWith('src/')) return found
  if (ENTRY_POINTS.has(file)) {
    if (lines.length > ENTRY_LINES_MAX) found.push(`${file}: an entry point only composes`)
    return found
  }
  return [...found, ...roomViolations(file, source)]
}

function roomViolations(file: string, source: string): string[] {
  const room = roomOf(file)
  if (!MAY_IMPORT[room]) {
    return [`${file}: '${room}' is not a room; add it to MAY_IMPORT or move the file`]
  }
  const found: string[] = []
  const isTest = file.endsWith('.test.ts')
  for (const [, from, dynamic, bare] of source.matchAll(IMPORT)) {
    const specifier = from ?? dynamic ?? bare ?? ''
    const wrong = importViolation(file, room, specifier, isTest)
    if (wrong !== undefined) found.push(`${file}: ${wrong}`)
  }
  if (!isTest && AWAITED_VIEW.test(source)) {
    found.push(`${file}: awaits an answer that may be overwritten: keptBytes`)
  }
  const pure = !HOSTED.has(room) && !isTest
  if (pure && BANNED_IN_PURE_ROOMS.some((banned) => banned.test(source))) {
    found.push(`${file}: take the clock, the randomness and the log as arguments`)
  }
  return found
}

function importViolation(
  file: string,
  room: string,
  specifier: string,
  isTest: boolean,
): string | undefined {
  // A test may use whatever it needs to look at its subject.
  if (isTest) return undefined
  if (specifier.startsWith('.')) {
    const target = roomOf(normalize(join(dirname(file), specifier)))
    if (target === room || MAY_IMPORT[room]?.includes(target)) return undefined
    return `${room} may not import ${target}`
  }
  if (/^(node|cloudflare):/.test(specifier)) {
    return HOSTED.has(room) ? undefined : `${specifier} belongs under src/host`
  }
  if (PACKAGES[room]?.includes(packageOf(specifier))) return undefined
  return `${room} may not import the package ${packageOf(specifier)}`
}
