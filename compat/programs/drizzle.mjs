/** Drizzle over node-postgres: builder, relations by join, upserts, transactions, prepared. */
import { and, count, desc, eq, gt, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import {
  boolean,
  integer,
  jsonb,
  pgTable,
  serial,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core'
import pg from 'pg'
import { test } from './tool.mjs'

const pool = new pg.Pool({ max: 2 })
const db = drizzle(pool)
const users = pgTable('users', {
  id: serial('id').primaryKey(),
  name: text('name').notNull().unique(),
  admin: boolean('admin').default(false),
  data: jsonb('data'),
  at: timestamp('at', { withTimezone: true }),
})
const posts = pgTable('posts', {
  id: uuid('id').primaryKey(),
  author: integer('author'),
  title: text('title'),
})
const plain = ({ code, message, cause }) => [cause?.code ?? code, cause?.message ?? message]

await test('tables', async () => {
  await db.execute(sql`create table users (id serial primary key, name text not null unique,
    admin boolean default false, data jsonb, at timestamptz)`)
  await db.execute(
    sql`create table posts (id uuid primary key, author int references users, title text)`,
  )
})
await test('insert and select', async () => {
  await db.insert(users).values([{ name: 'a', data: { x: [1] }, at: new Date(0) }, { name: 'b' }])
  return db.select().from(users).orderBy(users.id)
})
await test('upsert', () =>
  db
    .insert(users)
    .values({ name: 'a', admin: true })
    .onConflictDoUpdate({ target: users.name, set: { admin: true } })
    .returning())
await test('update, delete, aggregate', async () => {
  await db
    .update(users)
    .set({ admin: sql`not ${users.admin}` })
    .where(eq(users.name, 'b'))
  await db
    .insert(posts)
    .values({ id: '00000000-0000-4000-8000-000000000001', author: 1, title: 't' })
  return db
    .select({ name: users.name, posts: count(posts.id) })
    .from(users)
    .leftJoin(posts, eq(posts.author, users.id))
    .groupBy(users.name)
    .having(gt(count(users.id), 0))
    .orderBy(desc(users.name))
})
await test('a prepared query', async () => {
  const one = db
    .select()
    .from(users)
    .where(and(eq(users.id, sql.placeholder('id'))))
    .prepare('by_id')
  return [await one.execute({ id: 1 }), await one.execute({ id: 2 })]
})
await test('a transaction that rolls back', async () => {
  const told = await db
    .transaction(
      async (tx) => {
        await tx.insert(users).values({ name: 'gone' })
        await tx.transaction((inner) => inner.insert(users).values({ name: 'a' }))
      },
      { isolationLevel: 'serializable' },
    )
    .catch(plain)
  return [told, await db.$count(users)]
})
await test('an error', () =>
  db
    .select()
    .from(pgTable('nowhere', { id: serial('id') }))
    .catch(plain))
await pool.end()
