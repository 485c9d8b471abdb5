/** Kysely: builder, schema, introspection, its migrator (which locks), transactions, streams. */
import { Kysely, PostgresDialect, sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import pg from 'pg'
import { test } from './tool.mjs'

const pool = new pg.Pool({ max: 3 })
const db = new Kysely({ dialect: new PostgresDialect({ pool }) })

await test('migrations', async () => {
  const migrations = {
    '1_person': {
      up: (on) =>
        on.schema
          .createTable('person')
          .addColumn('id', 'serial', (c) => c.primaryKey())
          .addColumn('name', 'varchar(20)', (c) => c.notNull())
          .addColumn('data', 'jsonb')
          .execute(),
      down: (on) => on.schema.dropTable('person').execute(),
    },
    '2_pet': {
      up: (on) =>
        on.schema
          .createTable('pet')
          .addColumn('id', 'serial', (c) => c.primaryKey())
          .addColumn('owner', 'integer', (c) => c.references('person.id').onDelete('cascade'))
          .execute(),
      down: (on) => on.schema.dropTable('pet').execute(),
    },
  }
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } })
  const brief = ({ error, results }) => [
    error?.message,
    results?.map((each) => Object.values(each)),
  ]
  return [
    brief(await migrator.migrateToLatest()),
    brief(await migrator.migrateDown()),
    brief(await migrator.migrateToLatest()),
  ]
})
await test('two migrators at once', async () => {
  const migrations = {
    '3_more': { up: (on) => on.schema.createTable('more').addColumn('n', 'integer').execute() },
  }
  const run = async () => {
    const all = {
      '1_person': { up: async () => {} },
      '2_pet': { up: async () => {} },
      ...migrations,
    }
    const migrator = new Migrator({ db, provider: { getMigrations: async () => all } })
    const { error, results } = await migrator.migrateToLatest()
    return error ? error.message : results.length
  }
  return (await Promise.all([run(), run()])).toSorted()
})
await test('insert and select', async () => {
  await db
    .insertInto('person')
    .values([{ name: 'a', data: JSON.stringify({ x: 1 }) }, { name: 'b' }])
    .execute()
  return db.selectFrom('person').selectAll().orderBy('id').execute()
})
await test('a join with JSON', () =>
  db
    .selectFrom('person')
    .leftJoin('pet', 'pet.owner', 'person.id')
    .select(['person.name', sql`jsonb_agg(pet.id)`.as('pets')])
    .groupBy('person.name')
    .orderBy('person.name')
    .execute())
await test('a transaction that rolls back', async () => {
  const told = await db
    .transaction()
    .execute(async (tx) => {
      await tx.insertInto('person').values({ name: 'gone' }).execute()
      await tx.insertInto('pet').values({ owner: 99 }).execute()
    })
    .catch(({ code, constraint }) => [code, constraint])
  return [
    told,
    await db
      .selectFrom('person')
      .select(({ fn }) => fn.countAll().as('n'))
      .execute(),
  ]
})
await test('introspection', async () => {
  const tables = await db.introspection.getTables()
  return tables.map(({ name, isView, columns }) => [
    name,
    isView,
    columns.map(({ name: column, dataType, isNullable, hasDefaultValue, isAutoIncrementing }) => [
      column,
      dataType,
      isNullable,
      hasDefaultValue,
      isAutoIncrementing,
    ]),
  ])
})
await db.destroy()
