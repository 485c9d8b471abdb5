/**
 * What the rows of one run share: sizes, a work folder, the load generator, and servers that are
 * started when a row first needs them and ended when the run ends.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { LoadGenerator } from './load.ts'
import { nativeBinaries, startNative } from './peers/native.ts'
import { startBouncer } from './peers/pgbouncer.ts'
import { startPgnap, type PgnapServer } from './peers/pgnap.ts'
import { startPgliteSocket } from './peers/pglite-socket.ts'
import { PgliteProcess } from './peers/pglite.ts'
import type { PeerName, PeerServer } from './peers/server.ts'

export interface BenchOptions {
  readonly roundCount: number
  /** Tiny sizes: shows that everything still works, measures nothing. */
  readonly smoke: boolean
  readonly peers: ReadonlySet<PeerName>
  /** Where the databases live; their disk decides what an insert costs. */
  readonly parentFolder: string
  /** Entry file of the pgnap command line. */
  readonly pgnapEntry: string
  /** How much the row `density-10k` does; what is not given is as its name says. */
  readonly traffic: { readonly tenantCount?: number; readonly seconds?: number }
  readonly progress: (line: string) => void
  /** What people should know about a number besides the number. */
  readonly note: (line: string) => void
}

export class Bench implements AsyncDisposable {
  readonly #options: BenchOptions
  readonly #closing: (() => Promise<void>)[] = []
  readonly #once = new Map<string, Promise<unknown>>()
  #folderCount = 0
  /** Root of everything that this run writes. */
  readonly folder: string
  readonly load: LoadGenerator = new LoadGenerator()

  constructor(options: BenchOptions) {
    this.#options = options
    this.folder = mkdtempSync(join(options.parentFolder, 'pgnap-bench-'))
    // Servers under another user must be able to reach their own folders inside.
    chmodSync(this.folder, 0o711)
    process.once('exit', () => this.#removeFolder())
  }

  get roundCount(): number {
    return this.#options.roundCount
  }

  get pgnapEntry(): string {
    return this.#options.pgnapEntry
  }

  wants(peer: PeerName): boolean {
    return this.#options.peers.has(peer)
  }

  progress(line: string): void {
    this.#options.progress(line)
  }

  note(line: string): void {
    this.#options.note(line)
  }

  get traffic(): BenchOptions['traffic'] {
    return this.#options.traffic
  }

  /** `full`, or `smoke` in a smoke run. */
  size(full: number, smoke: number): number {
    return this.#options.smoke ? smoke : full
  }

  /** A path of its own for one cluster or data folder; nothing is there yet. */
  newPath(name: string): string {
    return join(this.folder, `${name}-${++this.#folderCount}`)
  }

  /** An empty folder of its own. */
  newFolder(name: string): string {
    const path = this.newPath(name)
    mkdirSync(path)
    return path
  }

  /** Ends `resource` with the run. */
  keep(close: () => Promise<void>): void {
    this.#closing.push(close)
  }

  nativeBinaries(): string {
    return nativeBinaries(this.folder)
  }

  /** The shared native server with default settings: fsync on. */
  native(): Promise<PeerServer> {
    return this.#server('native', () => startNative(this.nativeBinaries(), this.newPath('native')))
  }

  bouncer(): Promise<PeerServer> {
    return this.#server('pgbouncer', async () =>
      startBouncer(this.newPath('pgbouncer'), await this.native()),
    )
  }

  pgnap(): Promise<PgnapServer> {
    return this.#server('pgnap', () => startPgnap(this.pgnapEntry, this.newFolder('pgnap')))
  }

  pgliteSocket(): Promise<PeerServer> {
    return this.#server('socket', () => startPgliteSocket(this.newFolder('pglite-socket')))
  }

  pglite(): PgliteProcess {
    const pglite = new PgliteProcess()
    this.keep(() => pglite[Symbol.asyncDispose]())
    return pglite
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closing.toReversed()) await close().catch(() => undefined)
    await this.load[Symbol.asyncDispose]()
    this.#removeFolder()
  }

  #removeFolder(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 })
  }

  #server<Server extends PeerServer>(name: string, start: () => Promise<Server>): Promise<Server> {
    const running = this.#once.get(name) as Promise<Server> | undefined
    if (running !== undefined) return running
    const starting = start().then((server) => {
      this.keep(() => server.stop())
      return server
    })
    this.#once.set(name, starting)
    return starting
  }
}
