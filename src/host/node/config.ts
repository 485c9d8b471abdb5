/**
 * The configuration of a server: where each setting may come from, what it may be, what it is if
 * nobody says. A command-line flag wins over the environment, the environment over the
 * configuration file, the file over the default. One table, `SETTINGS`, names all three forms;
 * docs/config.md lists it.
 */
import { readFileSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import * as v from 'valibot'
import { PgnapError, errorText } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { isLoopback } from '../../base/loopback.ts'

export interface Config {
  /** Folder that holds everything. */
  readonly data: string
  /** Address to listen on. */
  readonly host: string
  /** Port of the Postgres wire; 0 takes a free one. */
  readonly port: number
  /** Port of HTTP; 0 takes a free one. */
  readonly httpPort: number
  /** Worker threads that own tenants. */
  readonly shards: number
  /** Tenants of one shard that may be awake at once. */
  readonly slots: number
  /** An awake tenant nobody used for this long naps, in milliseconds. */
  readonly napAfterMs: number
  /** Memory images of napping tenants, of the whole server, in bytes of memory. */
  readonly imageCacheBytes: number
  /** What one thread holds for its clients, in bytes. */
  readonly clientBytesMax: number
  /** Memory images on disk, in bytes; 0 keeps none. */
  readonly imageDiskBytes: number
  /** Warm tenants that come regularly before they are asked for. */
  readonly keepWarm: boolean
  /** Compare a slot's whole memory with the base whenever a tenant has left it. */
  readonly verifySwaps: boolean
  /** Whether tenants move from a busy shard to an idle one. */
  readonly rebalance: boolean
  readonly shareBase: boolean
  readonly auth: 'trust' | 'scram'
  /** Users and passwords in PgBouncer's userlist.txt form; needed for scram. */
  readonly authFile: string | undefined
  /** Failed logins of one address at once, before it has to wait; 0: nobody waits. */
  readonly loginFailuresMax: number
  /** Whether who has proven nothing is told that a tenant does not exist. */
  readonly tellUnknownTenants: boolean
  /** File or URL with the keys of web tokens that open a tenant on /sql. */
  readonly jwks: string | undefined
  /** Who web tokens must be for. */
  readonly jwtAudience: string | undefined
  /** Claim of web tokens that has to be the tenant. */
  readonly jwtTenantClaim: string
  /** File with the token that the JSON API then asks for. */
  readonly adminTokenFile: string | undefined
  /** Whether connecting to a tenant that does not exist makes it. */
  readonly createOnConnect: boolean
  /** Allows `trust` on an address that others can reach. */
  readonly insecure: boolean
  /** PEM file with the certificate of both ports and the chain behind it; with `tlsKey` or not. */
  readonly tlsCert: string | undefined
  /** PEM file with the private key of `tlsCert`. */
  readonly tlsKey: string | undefined
  /** Sends clients of the Postgres port away that do not use TLS. */
  readonly requireTls: boolean
  /** What the server calls itself; one label in front of it names a tenant. */
  readonly domain: string | undefined
  /** Ceiling of one slot's memory in bytes. */
  readonly slotMemoryBytesMax: number
  /** Ceiling of one tenant's files in bytes. */
  readonly databaseBytesMax: number
  /** Longest wait for a backend, in milliseconds. */
  readonly queryWaitMs: number
  /** Longest hold of a thread that other tenants have clients on, in milliseconds; 0: no limit. */
  readonly neighbourWaitMs: number
  /** How far back a tenant's history is kept, in milliseconds. */
  readonly retentionMs: number
  /** Clients of the whole server. */
  readonly connectionsMax: number
  /** How a connection reaches its shard's thread. */
  readonly transport: 'auto' | 'descriptor' | 'ring'
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
  /** Batches that take so long are logged, in milliseconds; undefined: none. */
  readonly logSlowMs: number | undefined
  /** Whether that log shows their statements. */
  readonly logSlowStatements: boolean
}

export interface Setting {
  readonly flag: string
  readonly environment: string
  readonly description: string
}

/** Names of every setting; the flag is the name in the configuration file with dashes. */
export const SETTINGS: Readonly<Record<keyof Config, Setting>> = {
  data: setting('data', 'folder that holds everything'),
  host: setting('host', 'address to listen on'),
  port: setting('port', 'port of the Postgres wire'),
  httpPort: setting('http-port', 'port of HTTP'),
  shards: setting('shards', 'worker threads'),
  slots: setting('slots', 'tenants of one shard that may be awake at once'),
  napAfterMs: setting('nap-after', 'idle time after which a tenant naps'),
  imageCacheBytes: setting('image-cache', 'memory for images of napping tenants'),
  clientBytesMax: setting(
    'client-memory',
    'what one thread holds of what clients have sent and not ended, asked for and not read',
  ),
  imageDiskBytes: setting('image-disk', 'disk for images of sleeping tenants; 0 keeps none'),
  keepWarm: setting('keep-warm', 'warm tenants that come regularly before they come'),
  verifySwaps: setting('verify-swaps', 'check that a tenant leaves nothing in its slot (slower)'),
  rebalance: setting('rebalance', 'move tenants from a busy shard to an idle one'),
  shareBase: setting('share-base', 'slots share the memory that no tenant has changed'),
  auth: setting('auth', 'trust or scram'),
  authFile: setting('auth-file', 'users and passwords, as PgBouncer userlist.txt'),
  loginFailuresMax: setting(
    'login-failures',
    'failed logins of one address before it has to wait; 0: no limit',
  ),
  tellUnknownTenants: setting(
    'tell-unknown-tenants',
    'say that a tenant does not exist to clients that have proven nothing',
  ),
  jwks: setting('jwks', 'file or https URL with the keys of JSON Web Tokens for /sql'),
  jwtAudience: setting('jwt-audience', 'who JSON Web Tokens must be for (aud)'),
  jwtTenantClaim: setting('jwt-tenant-claim', 'claim of JSON Web Tokens that names the tenant'),
  adminTokenFile: setting('admin-token-file', 'file with the token that /v1 and /metrics ask for'),
  createOnConnect: setting('create-on-connect', 'make a tenant when a client first asks for it'),
  insecure: setting('insecure', 'allow trust on an address that others can reach'),
  tlsCert: setting('tls-cert', 'PEM file with the certificate of both ports, chain included'),
  tlsKey: setting('tls-key', 'PEM file with the private key of the certificate'),
  requireTls: setting('require-tls', 'refuse clients of the Postgres port without TLS'),
  domain: setting('domain', 'name of the server: acme.DOMAIN is tenant acme (TLS SNI, HTTP host)'),
  slotMemoryBytesMax: setting('slot-memory', 'memory ceiling of one slot'),
  databaseBytesMax: setting('database-size', 'ceiling of the files of one tenant'),
  queryWaitMs: setting('query-wait-timeout', 'longest wait for a backend'),
  neighbourWaitMs: setting(
    'neighbour-wait-timeout',
    'longest that a statement may keep other tenants waiting; 0: no limit',
  ),
  retentionMs: setting('retention', 'how far back history is kept'),
  connectionsMax: setting('max-connections', 'clients of the whole server'),
  transport: setting('transport', 'auto, descriptor or ring'),
  logLevel: setting('log-level', 'debug, info, warn or error'),
  logSlowMs: setting('log-slow', 'log what takes so long, such as 200ms'),
  logSlowStatements: setting('log-slow-statements', 'show the statements in that log'),
}

function setting(flag: string, description: string): Setting {
  return { flag, environment: `PGNAP_${flag.toUpperCase().replaceAll('-', '_')}`, description }
}

const DURATION_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}
const SIZE_BYTES: Readonly<Record<string, number>> = { kB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30 }

/** A number, or text with a unit, as Postgres's own configuration has it. */
const quantity = (
  units: Readonly<Record<string, number>>,
  min: number,
  max: number,
): v.GenericSchema<unknown, number> =>
  v.pipe(
    v.union([v.number(), v.string()], notQuantity(units)),
    v.transform((value) => {
      if (typeof value === 'number') return value
      const [, digits, unit] = /^(\d+)\s*([a-zA-Z]*)$/.exec(value.trim()) ?? []
      const factor = unit === '' ? 1 : units[unit ?? '?']
      return digits === undefined || factor === undefined ? Number.NaN : Number(digits) * factor
    }),
    v.number(notQuantity(units)),
    v.integer('not a whole number'),
    v.minValue(min, `less than ${min}`),
    v.maxValue(max, `more than ${max}`),
  )

function notQuantity(units: Readonly<Record<string, number>>): string {
  const names = Object.keys(units).join(', ')
  return names === '' ? 'not a number' : `not a number with one of the units ${names}`
}

const count = (min: number, max: number): v.GenericSchema<unknown, number> => quantity({}, min, max)

const yesOrNo: v.GenericSchema<unknown, boolean> = v.pipe(
  v.union([v.boolean(), v.picklist(['true', 'false', 'on', 'off', '1', '0'])]),
  v.transform((value) => value === true || value === 'true' || value === 'on' || value === '1'),
)

/** Of the machine, or of the container, if that has less. */
function memoryBytes(): number {
  // 0: not known; without a limit it is larger than any machine.
  return Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY)
}

/** A small machine has less: one tenant is to take an eighth of it for one way in. */
function clientBytesOf(memory: number): number {
  return Math.min(LIMITS.clientBytesMax, Math.floor(memory / 8))
}

const DAY_MS = 86_400_000
const SLOT_MEMORY_BYTES_MIN = 64 * 2 ** 20
const SLOT_MEMORY_BYTES_MAX = 2 ** 31
/** An empty database has 40 MB, of which a store holds nothing. */
const DATABASE_BYTES_MIN = 2 ** 26

const schema = v.strictObject({
  data: v.optional(v.pipe(v.string(), v.minLength(1)), './pgnap-data'),
  host: v.optional(v.pipe(v.string(), v.minLength(1)), '127.0.0.1'),
  port: v.optional(count(0, 65_535), 6432),
  httpPort: v.optional(count(0, 65_535), 6480),
  shards: v.optional(count(1, 256), availableParallelism()),
  slots: v.optional(count(1, 1024), LIMITS.slotsPerShard),
  napAfterMs: v.optional(quantity(DURATION_MS, 10, DAY_MS), LIMITS.napAfterMs),
  imageCacheBytes: v.optional(quantity(SIZE_BYTES, 0, 2 ** 40), LIMITS.imageCacheBytes),
  clientBytesMax: v.optional(quantity(SIZE_BYTES, 2 ** 20, 2 ** 40), clientBytesOf(memoryBytes())),
  imageDiskBytes: v.optional(quantity(SIZE_BYTES, 0, 2 ** 50), LIMITS.imageDiskBytes),
  keepWarm: v.optional(yesOrNo, true),
  verifySwaps: v.optional(yesOrNo, false),
  rebalance: v.optional(yesOrNo, true),
  shareBase: v.optional(yesOrNo, true),
  auth: v.optional(v.picklist(['trust', 'scram']), 'trust'),
  authFile: v.optional(v.string()),
  loginFailuresMax: v.optional(
    count(0, LIMITS.loginFailuresPerRoleMax - 1),
    LIMITS.loginFailuresPerAddressMax,
  ),
  tellUnknownTenants: v.optional(yesOrNo, false),
  jwks: v.optional(v.pipe(v.string(), v.minLength(1))),
  jwtAudience: v.optional(v.pipe(v.string(), v.minLength(1))),
  jwtTenantClaim: v.optional(v.pipe(v.string(), v.minLength(1)), 'tenant'),
  adminTokenFile: v.optional(v.pipe(v.string(), v.minLength(1))),
  createOnConnect: v.optional(yesOrNo, true),
  insecure: v.optional(yesOrNo, false),
  tlsCert: v.optional(v.pipe(v.string(), v.minLength(1))),
  tlsKey: v.optional(v.pipe(v.string(), v.minLength(1))),
  requireTls: v.optional(yesOrNo, false),
  domain: v.optional(
    v.pipe(
      v.string(),
      v.toLowerCase(),
      v.regex(/^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/, 'not a host name such as db.example.com'),
    ),
  ),
  slotMemoryBytesMax: v.optional(
    quantity(SIZE_BYTES, SLOT_MEMORY_BYTES_MIN, SLOT_MEMORY_BYTES_MAX),
    LIMITS.slotMemoryBytesMax,
  ),
  databaseBytesMax: v.optional(
    quantity(SIZE_BYTES, DATABASE_BYTES_MIN, 2 ** 50),
    LIMITS.databaseBytesMax,
  ),
  queryWaitMs: v.optional(quantity(DURATION_MS, 1, DAY_MS), LIMITS.queryWaitMs),
  neighbourWaitMs: v.optional(quantity(DURATION_MS, 0, DAY_MS), LIMITS.neighbourWaitMs),
  retentionMs: v.optional(quantity(DURATION_MS, 0, 365 * DAY_MS), LIMITS.retentionMs),
  connectionsMax: v.optional(count(1, 1_000_000), LIMITS.connectionsMax),
  transport: v.optional(v.picklist(['auto', 'descriptor', 'ring']), 'auto'),
  logLevel: v.optional(v.picklist(['debug', 'info', 'warn', 'error']), 'info'),
  logSlowMs: v.optional(quantity(DURATION_MS, 0, DAY_MS)),
  logSlowStatements: v.optional(yesOrNo, false),
})

/** What each setting is if nobody says; undefined where that is nothing at all. */
export const DEFAULTS: Readonly<Partial<Config>> = v.getDefaults(schema)

/** The default of a setting, in the words that set it; `none` where there is none. */
export function defaultWords(name: keyof Config): string {
  const value = DEFAULTS[name]
  // They are not the same on every machine.
  if (name === 'shards') return 'one per core'
  if (name === 'clientBytesMax') return '1GB, or an eighth of the memory if that is less'
  if (value === undefined) return 'none'
  if (typeof value !== 'number' || value === 0) return String(value)
  if (name.endsWith('Ms')) return inUnits(value, DURATION_MS)
  return /Bytes(?:Max)?$/.test(name) ? inUnits(value, SIZE_BYTES) : String(value)
}

/** In the largest unit that needs no fraction. */
function inUnits(value: number, units: Readonly<Record<string, number>>): string {
  const [name = '', factor = 1] =
    Object.entries(units).findLast(([, each]) => value % each === 0) ?? []
  return `${value / factor}${name}`
}

/** Settings as somebody gave them: not checked, any of them missing. */
export type ConfigInput = Partial<Record<keyof Config, unknown>>

export interface ConfigSources {
  readonly flags: ConfigInput
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Path of a configuration file (JSON), if one was named. */
  readonly file?: string
}

/**
 * The configuration that a server runs with.
 * @throws PgnapError CONFIG_INVALID, naming the setting and where it came from.
 */
export function readConfig({ flags, environment, file }: ConfigSources): Config {
  const fromEnvironment: ConfigInput = {}
  for (const [name, { environment: variable }] of Object.entries(SETTINGS)) {
    const value = environment[variable]
    if (value !== undefined && value !== '') fromEnvironment[name as keyof Config] = value
  }
  const fromFile = file === undefined ? {} : readConfigFile(file)
  return validate({ ...fromFile, ...fromEnvironment, ...defined(flags) })
}

/** Checks settings from one place; what is missing gets its default. */
export function validate(input: ConfigInput): Config {
  const parsed = v.safeParse(schema, input)
  if (!parsed.success) {
    const [issue] = parsed.issues
    const key = issue.path?.[0]?.key
    const name = (typeof key === 'string' ? key : 'configuration') as keyof Config
    const known = SETTINGS[name]
    const message = known ? `${known.flag}: ${issue.message}` : `${name}: no such setting`
    throw new PgnapError('CONFIG_INVALID', message, {
      hint: known
        ? `set it with --${known.flag}, ${known.environment} or "${name}" in the configuration file`
        : `the settings are ${Object.keys(SETTINGS).join(', ')}`,
    })
  }
  const {
    authFile,
    adminTokenFile,
    jwks,
    jwtAudience,
    tlsCert,
    tlsKey,
    domain,
    logSlowMs,
    ...rest
  } = parsed.output
  const optional = { authFile, adminTokenFile, jwks, jwtAudience, tlsCert, tlsKey, domain }
  const config: Config = { ...rest, ...optional, logSlowMs }
  checkTogether(config)
  return config
}

/** What no setting can say for itself. */
function checkTogether(config: Config): void {
  const { auth, authFile, host, insecure, ...tls } = config
  checkWebTokens(config)
  checkTold(config)
  checkPorts(config)
  if (auth === 'scram' && authFile === undefined) {
    throw new PgnapError('CONFIG_INVALID', 'auth scram needs users and passwords', {
      hint: 'name a file with --auth-file; its lines are "user" "password or SCRAM verifier"',
    })
  }
  if (auth === 'trust' && !isLoopback(host) && !insecure) {
    throw new PgnapError('CONFIG_INVALID', `auth trust on ${host} would let anybody in`, {
      hint: 'use --auth scram, or --insecure if every network that reaches this address is yours',
    })
  }
  if ((tls.tlsCert === undefined) !== (tls.tlsKey === undefined)) {
    const [has, lacks] = tls.tlsKey === undefined ? ['cert', 'key'] : ['key', 'cert']
    throw new PgnapError('CONFIG_INVALID', `tls-${has} without tls-${lacks}`, {
      hint: `name the other PEM file with --tls-${lacks}, or neither of them`,
    })
  }
  if (tls.requireTls && tls.tlsCert === undefined) {
    throw new PgnapError('CONFIG_INVALID', 'require-tls needs a certificate', {
      hint: 'name its PEM files with --tls-cert and --tls-key',
    })
  }
}

function checkPorts({ port, httpPort }: Config): void {
  if (port !== httpPort || port === 0) return
  throw new PgnapError('CONFIG_INVALID', `port and http-port are both ${port}`, {
    hint: 'give one of them another number with --port or --http-port; 0 takes a free one',
  })
}

function checkTold({ tellUnknownTenants, createOnConnect }: Config): void {
  if (!tellUnknownTenants || !createOnConnect) return
  throw new PgnapError('CONFIG_INVALID', 'no tenant is unknown where connecting makes it', {
    hint: 'use --no-create-on-connect with --tell-unknown-tenants',
  })
}

function checkWebTokens({ auth, jwks, jwtAudience }: Config): void {
  if (jwks === undefined && jwtAudience === undefined) return
  if (jwks === undefined || jwtAudience === undefined) {
    const [has, lacks] = jwks === undefined ? ['jwt-audience', 'jwks'] : ['jwks', 'jwt-audience']
    throw new PgnapError('CONFIG_INVALID', `${has} without ${lacks}`, {
      hint: 'tokens that the same keys have signed for somebody else must not open anything here',
    })
  }
  if (auth === 'trust') {
    throw new PgnapError('CONFIG_INVALID', 'web tokens open nothing that trust has not opened', {
      hint: 'use --auth scram, so that those without a token need a password',
    })
  }
}

function readConfigFile(path: string): ConfigInput {
  try {
    const parsed: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
      throw new TypeError('not an object')
    }
    return parsed
  } catch (cause) {
    const why = errorText(cause)
    throw new PgnapError('CONFIG_INVALID', `cannot use the configuration file ${path}: ${why}`, {
      hint: 'it holds one JSON object, such as { "port": 6432, "napAfterMs": "10s" }',
      cause,
    })
  }
}

function defined(input: ConfigInput): ConfigInput {
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined))
}
