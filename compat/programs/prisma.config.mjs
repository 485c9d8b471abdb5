/**
 * Lets Prisma's CLI work from npm alone. Its schema engine is a program that npm does not carry,
 * but the CLI of Prisma 6 also has it as WASM, which reaches the database through a driver
 * adapter. Prisma's own adapter for node-postgres does not get it through a schema's description:
 * it refuses the types `name` and `"char"`, and drops the shadow database while it is connected to
 * it. Both are mended here, on native Postgres and pgnap alike.
 */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { PrismaPg } from 'prisma-6-adapter-pg'

const CHAR_OID = 18
const NAME_OID = 19
const TEXT_OID = 25
/** The schema engine's number of a column of single characters. */
const CHARACTER = 6
const folder = process.env.COMPAT_FOLDER

// The engine does not clear the timer that limits its waiting for a lock: each command would last
// as long as that.
const LOCK_MS_MIN = 5_000
const { setTimeout: start } = globalThis
globalThis.setTimeout = (run, ms, ...args) => {
  const timer = start(run, ms, ...args)
  return ms >= LOCK_MS_MIN ? timer.unref() : timer
}

export default {
  experimental: { adapter: true },
  engine: 'js',
  schema: join(folder, 'schema.prisma'),
  migrations: { path: join(folder, 'migrations') },
  adapter: async () => factory(),
}

function factory(config) {
  // The engine leaves its pool open, which would hold the program for its idle time.
  const made = new PrismaPg({ allowExitOnIdle: true, ...config })
  const connect = made.connect.bind(made)
  made.connect = async () => readCatalogs(await connect())
  made.connectToShadowDb = () => shadow(made)
  return made
}

function readCatalogs(adapter) {
  const { queryRaw } = adapter
  const plain = (field) =>
    [CHAR_OID, NAME_OID].includes(field.dataTypeID) ? { ...field, dataTypeID: TEXT_OID } : field
  adapter.queryRaw = async (query) => {
    const types = []
    const once = Object.create(adapter)
    once.performIO = async (io) => {
      const { fields, rows } = await adapter.performIO(io)
      types.push(...fields.map(({ dataTypeID }) => dataTypeID))
      return { rows, fields: fields.map(plain) }
    }
    const result = await queryRaw.call(once, query)
    const columnTypes = result.columnTypes.map((type, index) =>
      types[index] === CHAR_OID ? CHARACTER : type,
    )
    return { ...result, columnTypes }
  }
  return adapter
}

async function shadow(main) {
  const admin = await main.connect()
  const database = `prisma_migrate_shadow_db_${randomUUID()}`
  await admin.executeScript(`CREATE DATABASE "${database}"`)
  const adapter = await factory({ database }).connect()
  const disconnect = adapter.dispose.bind(adapter)
  adapter.dispose = async () => {
    await disconnect()
    await admin.executeScript(`DROP DATABASE "${database}"`)
    await admin.dispose()
  }
  return adapter
}
