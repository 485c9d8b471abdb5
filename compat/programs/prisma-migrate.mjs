/** Prisma Migrate: push, migrations with a shadow database, drift, deployment, introspection. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { migrate, writeSchema } from './prisma-tool.mjs'
import { folder, test } from './tool.mjs'

const ENUM = 'enum Role {\n USER\n ADMIN\n}\n'
const FIRST = `model User {
  id      Int      @id @default(autoincrement())
  email   String   @unique @db.VarChar(80)
  role    Role     @default(USER)
  tags    String[]
  data    Json?
  balance Decimal  @default(0) @db.Decimal(12, 2)
  made    DateTime @default(now()) @db.Timestamptz(3)
  posts   Post[]
}
model Post {
  id       String  @id @default(dbgenerated("gen_random_uuid()")) @db.Uuid
  title    String
  author   User    @relation(fields: [authorId], references: [id], onDelete: Cascade)
  authorId Int
  labels   Label[]
  @@index([authorId, title(sort: Desc)], name: "by_author")
}
model Label {
  name  String @id
  posts Post[]
}
`
const SECOND = FIRST.replace(
  '  title    String\n',
  '  title    String\n  views    BigInt @default(0)\n',
)
const migrations = join(folder, 'migrations')
const client = new pg.Client()
await client.connect()

const rows = async (text) => (await client.query({ text, rowMode: 'array' })).rows
const tables = () =>
  rows(`select table_name, column_name, data_type, column_default, is_nullable
    from information_schema.columns where table_schema = 'public' order by 1, ordinal_position`)
const constraints = () =>
  rows(`select conname, pg_get_constraintdef(oid) from pg_constraint
    where connamespace = 'public'::regnamespace order by 1`)
const applied = () =>
  rows(`select regexp_replace(migration_name, '^[0-9]+', 'TIME'), applied_steps_count,
    finished_at is not null, rolled_back_at is not null from _prisma_migrations order by started_at`)
const shadows = () => rows(`select count(*)::int from pg_database where datname ~ 'shadow'`)

await test('db push', async () => {
  writeSchema(ENUM + FIRST)
  return migrate('db', 'push', '--skip-generate')
})
await test('what was pushed', async () => [await tables(), await constraints()])
await test('db push of a change, and again', () => {
  writeSchema(ENUM + SECOND)
  const text = migrate('db', 'push', '--skip-generate')
  return text + migrate('db', 'push', '--skip-generate')
})
await test('db push that would lose data', async () => {
  await client.query(`insert into "User" (email) values ('a@b')`)
  writeSchema(ENUM + SECOND.replace('  email   String   @unique @db.VarChar(80)\n', ''))
  const refused = migrate('db', 'push', '--skip-generate')
  return refused + migrate('db', 'push', '--skip-generate', '--accept-data-loss')
})
await test('db pull', () => migrate('db', 'pull', '--print'))
await test('dev on a database that has drifted', () => {
  writeSchema(ENUM + FIRST)
  return migrate('migrate', 'dev', '--name', 'first', '--skip-generate')
})
await test('reset', () => migrate('migrate', 'reset', '--force', '--skip-generate'))
await test('dev: the first migration, by a shadow database', async () => {
  const text = migrate('migrate', 'dev', '--name', 'first', '--skip-generate')
  return [text, names(), await applied(), await shadows()]
})
await test('dev: the second', async () => {
  writeSchema(ENUM + SECOND)
  const text = migrate('migrate', 'dev', '--name', 'second', '--skip-generate')
  return [text, names(), await applied(), await shadows()]
})
await test('what was migrated', async () => [await tables(), await constraints()])
await test('status', () => migrate('migrate', 'status'))
await test('diff of migrations and schema, by a shadow database', async () => {
  writeSchema(ENUM + SECOND.replace('name  String @id', 'name  String @id\n  color String?'))
  const schema = join(folder, 'schema.prisma')
  const args = ['--from-migrations', migrations, '--to-schema-datamodel', schema]
  return [migrate('migrate', 'diff', ...args, '--script'), await shadows()]
})
await test('a migration by hand, deployed', async () => {
  byHand('20990101000000_by_hand', 'create view names as select name from "Label"')
  const text = migrate('migrate', 'deploy')
  return [text, await applied(), await rows('select * from names')]
})
await test('a migration that fails', async () => {
  byHand('20990102000000_wrong', 'create table half (id int); select nothing')
  return [migrate('migrate', 'deploy'), await applied(), migrate('migrate', 'deploy')]
})
await test('dev after a migration was changed', () => {
  byHand('20990102000000_wrong', 'create table if not exists half (id int)')
  byHand('20990101000000_by_hand', '-- changed')
  return migrate('migrate', 'dev', '--name', 'third', '--skip-generate')
})
await test('deploy on a new database', async () => {
  rmSync(join(migrations, '20990101000000_by_hand'), { recursive: true })
  await client.query('drop schema public cascade; create schema public')
  return [migrate('migrate', 'deploy'), await tables()]
})
await client.end()

function names() {
  return readdirSync(migrations)
    .map((name) => name.replace(/^\d{14}/, 'TIME'))
    .toSorted()
}

function byHand(name, sql) {
  mkdirSync(join(migrations, name), { recursive: true })
  writeFileSync(join(migrations, name, 'migration.sql'), `${sql};\n`)
}
