/**
 * `node pglite-socket-process.ts PORT FOLDER`: pglite-socket as its makers describe it. One
 * database for all clients, in a folder; its fsync does nothing, so its inserts are not durable.
 */
import { PGlite } from '@electric-sql/pglite'

interface SocketModule {
  readonly PGLiteSocketServer: new (options: {
    readonly db: PGlite
    readonly host: string
    readonly port: number
    readonly maxConnections: number
  }) => { start(): Promise<void> }
}

// Not a literal import: the package exists only in the bench's own folder, and only after its
// install.
const name: string = '@electric-sql/pglite-socket'
const { PGLiteSocketServer } = (await import(name)) as SocketModule
const [port, folder] = process.argv.slice(2)
const db = await PGlite.create({ dataDir: folder ?? '' })
await new PGLiteSocketServer({
  db,
  host: '127.0.0.1',
  port: Number(port),
  maxConnections: 100,
}).start()
process.on('SIGTERM', () => {
  db.close().then(
    () => process.exit(0),
    () => process.exit(1),
  )
})
