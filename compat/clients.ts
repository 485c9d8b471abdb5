/**
 * The clients that are tried: what has to be there for each, which version it is, and how its
 * program is started. All programs print sections (`sections.ts`).
 */
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'

export interface Client {
  readonly name: string
  /** Of the client, or undefined if this machine has none. */
  readonly version: () => string | undefined
  readonly command: () => readonly [string, ...string[]]
}

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
}

const HERE = import.meta.dirname
const PROGRAMS = join(HERE, 'programs')
const INSTALLED = join(HERE, 'node_modules')
const PYTHON = join(INSTALLED, '.python')
const INSTALL_MS_MAX = 300_000

export const CLIENTS: readonly Client[] = [
  tool('psql'),
  tool('pgbench'),
  fromNpm('pg_dump (WASM, 18)', '@electric-sql/pglite-tools', 'pg-dump.mjs'),
  fromNpm('node-postgres', 'pg', 'node-postgres.mjs'),
  fromNpm('postgres.js', 'postgres', 'postgres-js.mjs'),
  fromNpm('Drizzle', 'drizzle-orm', 'drizzle.mjs'),
  fromNpm('Kysely', 'kysely', 'kysely.mjs'),
  fromNpm('Prisma Client', '@prisma/client', 'prisma.mjs'),
  fromNpm('Prisma Migrate', 'prisma-6', 'prisma-migrate.mjs'),
  fromNpm('Neon driver', '@neondatabase/serverless', 'neon.mjs'),
  fromNpm('catalog queries of GUI tools', 'pg', 'catalogs.mjs'),
  {
    name: 'sessions at random',
    version: () => '-',
    command: () => [process.execPath, join(PROGRAMS, 'sessions.mjs')],
  },
  {
    name: 'psycopg',
    version: () => lastLine(python(), ['-c', 'import psycopg; print(psycopg.__version__)']),
    command: () => [python(), join(PROGRAMS, 'psycopg_client.py')],
  },
  {
    name: 'JDBC',
    version: () => (lastLine('java', ['--version']) === undefined ? undefined : jdbcVersion()),
    command: () => ['java', '-cp', jdbcJar() ?? '', join(PROGRAMS, 'Jdbc.java')],
  },
]

/** Installs what npm and pip have; what they cannot bring is missing afterwards, and reported. */
export function installClients(): void {
  const wanted = JSON.parse(readFileSync(join(HERE, 'package.json'), 'utf8')) as Manifest
  if (!Object.keys(wanted.dependencies).every((name) => existsSync(join(INSTALLED, name)))) {
    const quiet = ['--no-package-lock', '--legacy-peer-deps', '--no-audit', '--no-fund']
    // Prisma's scripts would fetch programs that are not used here, and fail without a network.
    attempt('npm', ['install', '--ignore-scripts', ...quiet])
  }
  if (lastLine(python(), ['-c', 'import psycopg']) !== undefined || existsSync(PYTHON)) return
  attempt('python3', ['-m', 'venv', PYTHON])
  attempt(join(PYTHON, 'bin', 'pip'), ['install', '--quiet', '--retries', '0', 'psycopg'])
}

/** A program of Postgres's own, driven by ours. */
function tool(name: string): Client {
  return {
    name,
    version: () => lastLine(name, ['--version']),
    command: () => [process.execPath, join(PROGRAMS, `${name}.mjs`)],
  }
}

function fromNpm(name: string, packageName: string, program: string): Client {
  return {
    name,
    version: () => npmVersion(packageName),
    command: () => [process.execPath, join(PROGRAMS, program)],
  }
}

/** Of the package as a program finds it; its exports may hide package.json. */
function npmVersion(name: string): string | undefined {
  const folders = createRequire(join(PROGRAMS, 'any.mjs')).resolve.paths(name) ?? []
  const file = folders.map((folder) => join(folder, name, 'package.json')).find(existsSync)
  if (file === undefined) return undefined
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

function python(): string {
  const own = join(PYTHON, 'bin', 'python')
  return existsSync(own) ? own : 'python3'
}

function jdbcJar(): string | undefined {
  const given = process.env['COMPAT_JDBC']
  if (given !== undefined) return given
  const folder = join(homedir(), '.m2/repository/org/postgresql/postgresql')
  return globSync(join(folder, '*/postgresql-*.jar')).toSorted().at(-1)
}

function jdbcVersion(): string | undefined {
  return /postgresql-(.+)\.jar$/.exec(jdbcJar() ?? '')?.[1]
}

/** What a program that succeeds says last. */
function lastLine(program: string, args: readonly string[]): string | undefined {
  try {
    const stdio = ['ignore', 'pipe', 'ignore'] as const
    return execFileSync(program, args, { stdio: [...stdio], encoding: 'utf8' }).trim()
  } catch {
    return undefined
  }
}

function attempt(program: string, args: readonly string[]): void {
  try {
    execFileSync(program, args, { cwd: HERE, stdio: 'ignore', timeout: INSTALL_MS_MAX })
  } catch (error) {
    process.stderr.write(`${program} ${args[0] ?? ''} failed: ${String(error)}\n`)
  }
}
