/**
 * `pgnap serve`: runs a server until it is told to stop. Prints what somebody needs to connect,
 * then is quiet; the log goes to stderr.
 *
 * The first SIGTERM or SIGINT drains (clients finish, tenants nap) and exits 0; a second one exits
 * 1 at once, since whoever sends it has stopped waiting. With TLS, SIGHUP reads the certificate
 * again.
 */
import type { Command } from 'commander'
import type { Log } from '../base/log.ts'
import { keepLargeBlocksApart } from '../host/node/allocator.ts'
import { type Config, SETTINGS } from '../host/node/config.ts'
import type { EarlyStart } from '../host/node/early-start.ts'
import { headStart, type HeadStart } from '../host/node/head-start.ts'
import { beThrifty, favourFirstRow, favourNobody } from '../host/node/v8-flags.ts'
import { EXIT } from './failure.ts'
import { type SettingName, addSettings, configOf } from './settings.ts'
import type { Terminal } from './terminal.ts'
import { packageVersion } from './version.ts'

/** By then threads have loaded most of what they need, by the flags that caches of code know. */
const THRIFTY_AFTER_MS = 10_000

const EXAMPLES = `
Examples:
  pgnap serve                                       data in ./pgnap-data, tenants made on connect
  pgnap serve --data /var/lib/pgnap --port 5432
  pgnap serve --host 0.0.0.0 --auth scram --auth-file users.txt
  PGNAP_SLOTS=16 pgnap serve --nap-after 1min --json

Then:
  psql postgres://127.0.0.1:6432/acme
`

/** Adds the verb. @param head what was begun already. Default: the verb begins it */
export function addServe(program: Command, terminal: Terminal, head?: HeadStart): void {
  const command = program
    .command('serve')
    .description('run a server: Postgres wire, HTTP, and every tenant of a data folder')
    .option('--json', 'print one JSON line when ready instead of text')
    .addHelpText('after', EXAMPLES)
  addSettings(command, Object.keys(SETTINGS) as SettingName[])
  command.action(async () => {
    const begun = head ?? headStart()
    const config = configOf(command, terminal)
    const { startEarly } = await import('../host/node/early-start.ts')
    const say = (step: string): void => terminal.complain(`pgnap: ${step}\n`)
    const early = await startEarly(config, say, begun)
    await serve(config, { json: command.getOptionValue('json') === true, terminal, early })
  })
}

interface Addresses {
  readonly wireAddress: Address
  readonly httpAddress: Address
}

interface Address {
  readonly host: string
  readonly port: number
}

interface ServeOptions {
  readonly json: boolean
  readonly terminal: Terminal
  readonly early: EarlyStart
}

async function serve(config: Config, { json, terminal, early }: ServeOptions): Promise<void> {
  // Loaded here: `pgnap --help` should not wait for a database.
  const [{ startServer }, { openLog }] = await Promise.all([
    import('../host/node/server.ts'),
    import('../host/node/log.ts'),
  ])
  const log = openLog({ level: config.logLevel })
  const stopped = stopSignal()
  const server = await startServer(config, {
    log,
    version: packageVersion(),
    early,
    whileFirstServed: { begins: favourFirstRow, ends: favourNobody },
  })
  terminal.out(json ? readyLine(server) : welcome(server, config))
  keepLargeBlocksApart()
  setTimeout(beThrifty, THRIFTY_AFTER_MS).unref()
  renewOnHangup(server.renewCertificate, log)
  const signal = await stopped
  log.info('draining', { signal })
  await server.drain()
  // What a library may still hold open must not keep a drained server alive.
  process.exit(EXIT.done)
}

/**
 * Without a certificate SIGHUP keeps its meaning: the terminal is gone, and the server goes, too.
 */
function renewOnHangup(renew: (() => void) | undefined, log: Log): void {
  if (!renew) return
  process.on('SIGHUP', () => {
    try {
      renew()
      log.info('the certificate was read again')
    } catch (error) {
      log.error('the certificate was not renewed', { error })
    }
  })
}

/** Resolves at the first signal to stop; the second one ends the process. */
function stopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  let told = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (told) process.exit(EXIT.failed)
      told = true
      resolve(signal)
    })
  }
  return promise
}

/** The line that tells a program that the server accepts connections. */
export function readyLine({ wireAddress, httpAddress }: Addresses): string {
  const { host, port } = wireAddress
  const ready = { event: 'ready', host, port, httpPort: httpAddress.port, pid: process.pid }
  return `${JSON.stringify(ready)}\n`
}

/** What a person sees when the server accepts connections. */
export function welcome({ wireAddress, httpAddress }: Addresses, config: Config): string {
  const { auth, createOnConnect, data, shards, slots, napAfterMs } = config
  const [scheme, words] =
    config.tlsCert === undefined ? ['http', ''] : ['https', '?sslmode=require']
  const user = auth === 'scram' ? 'USER@' : ''
  const wire = `psql ${quoted(`postgres://${user}${authority(wireAddress)}/acme${words}`)}`
  const access = auth === 'trust' ? 'trust: whoever reaches the port is let in' : 'SCRAM-SHA-256'
  const threads = shards === 1 ? '1 shard' : `${shards} shards`
  const tenants = createOnConnect ? 'any name is a new tenant' : 'pgnap tenant create NAME'
  return `
  pgnap ${packageVersion()}: a Postgres for every tenant

    connect   ${wire}
    http      ${scheme}://${authority(httpAddress)}/
    data      ${data}
    slots     ${threads} x ${slots} slots, nap after ${napAfterMs / 1000} s idle
    access    ${access}
    tenants   ${tenants}

  ready (Ctrl-C stops)

`.slice(1)
}

/** A shell takes a question mark for a pattern. */
function quoted(url: string): string {
  return url.includes('?') ? `'${url}'` : url
}

/** Host and port as they stand in a URL; a server on every address is shown by the nearest one. */
function authority({ host, port }: Address): string {
  const near = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `${near.includes(':') ? `[${near}]` : near}:${port}`
}
