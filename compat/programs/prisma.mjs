/**
 * Prisma Client 7, whose queries are compiled by WASM and run by node-postgres: what it makes of
 * types, relations, transactions, raw SQL, errors, and many queries at once.
 */
import { PrismaPg } from '@prisma/adapter-pg'
import { generateClient, migrate, writeClientSchema, writeSchema } from './prisma-tool.mjs'
import { json, section, test } from './tool.mjs'

const MODELS = `enum Role {
 USER
 ADMIN
}
model User {
  id      Int      @id @default(autoincrement())
  email   String   @unique
  name    String?
  role    Role     @default(USER)
  posts   Post[]
  profile Profile?
}
model Profile {
  id     Int    @id @default(autoincrement())
  bio    String
  user   User   @relation(fields: [userId], references: [id], onDelete: Cascade)
  userId Int    @unique
}
model Post {
  id       String  @id @db.Uuid
  title    String
  views    Int     @default(0)
  author   User    @relation(fields: [authorId], references: [id])
  authorId Int
  tags     Tag[]
  @@unique([authorId, title])
}
model Tag {
  name  String @id
  posts Post[]
}
model Kinds {
  id      Int       @id
  big     BigInt?
  real    Float?
  exact   Decimal?  @db.Decimal(20, 6)
  yes     Boolean?
  at      DateTime?
  zoned   DateTime? @db.Timestamptz(6)
  day     DateTime? @db.Date
  time    DateTime? @db.Time(3)
  bytes   Bytes?
  data    Json?
  texts   String[]
  ints    Int[]
  jsons   Json[]
  roles   Role[]
  days    DateTime[]
  address String?   @db.Inet
}
`
const uuid = (digit) => `00000000-0000-4000-8000-00000000000${digit}`
const plain = ({ name, code, meta }) => ({ name, code, meta: json(meta).slice(0, 400) })

writeSchema(MODELS)
section('the schema')
console.log(migrate('db', 'push', '--skip-generate'))
writeClientSchema(MODELS)
const { PrismaClient, Prisma } = await generateClient()
const prisma = new PrismaClient({ adapter: new PrismaPg({ max: 4 }) })

await test('create, with relations', () =>
  prisma.user.create({
    data: {
      email: 'a@x',
      name: 'A',
      profile: { create: { bio: 'first' } },
      posts: {
        create: [
          { id: uuid(1), title: 'one', tags: { create: [{ name: 'red' }, { name: 'blue' }] } },
          { id: uuid(2), title: 'two', tags: { connect: { name: 'red' } } },
        ],
      },
    },
    include: { profile: true, posts: { include: { tags: { orderBy: { name: 'asc' } } } } },
  }))
await test('createMany, and returning', async () => {
  const data = Array.from({ length: 20 }, (_, index) => ({ email: `u${index}@x` }))
  const made = await prisma.user.createMany({ data })
  const returned = await prisma.user.createManyAndReturn({
    data: [{ email: 'u0@x' }, { email: 'new@x', role: 'ADMIN' }],
    skipDuplicates: true,
  })
  return [made, returned.map(({ email, role }) => [email, role])]
})
await test('find: filters, cursor, relations', async () => [
  await prisma.user.findMany({
    where: { OR: [{ email: { startsWith: 'U1', mode: 'insensitive' } }, { role: 'ADMIN' }] },
    orderBy: { email: 'desc' },
    take: 4,
    skip: 1,
    select: { email: true, role: true, _count: { select: { posts: true } } },
  }),
  await prisma.user.findMany({ cursor: { email: 'u5@x' }, take: 2, orderBy: { id: 'asc' } }),
  await prisma.user.findMany({ where: { posts: { some: { tags: { some: { name: 'blue' } } } } } }),
  await prisma.post.findMany({
    where: { author: { is: { profile: { bio: { contains: 'irs' } } } } },
    orderBy: { title: 'asc' },
  }),
  await prisma.user.findUnique({ where: { email: 'nobody' } }),
])
await test('aggregate and group', async () => [
  await prisma.post.aggregate({ _sum: { views: true }, _count: true, _max: { title: true } }),
  await prisma.user.groupBy({ by: ['role'], _count: { _all: true }, orderBy: { role: 'asc' } }),
])
await test('update, upsert, delete', async () => [
  await prisma.post.update({
    where: { authorId_title: { authorId: 1, title: 'one' } },
    data: { views: { increment: 5 }, tags: { disconnect: { name: 'red' } } },
    include: { tags: true },
  }),
  await prisma.user.upsert({
    where: { email: 'a@x' },
    create: { email: 'a@x' },
    update: { name: 'B' },
  }),
  await prisma.user.upsert({ where: { email: 'z@x' }, create: { email: 'z@x' }, update: {} }),
  await prisma.user.updateMany({ where: { name: null }, data: { name: 'none' } }),
  await prisma.user.deleteMany({ where: { email: { startsWith: 'u1' } } }),
  await prisma.user.count(),
])
await test('types', async () => {
  const at = new Date('2024-02-29T12:34:56.789Z')
  const data = {
    id: 1,
    big: 9007199254740993n,
    real: 0.1,
    exact: '12345678901234.000001',
    yes: true,
    at,
    zoned: at,
    day: at,
    time: at,
    bytes: new Uint8Array([0, 255]),
    data: { nested: [1, null, 'é'] },
    texts: ['a,b', '"quoted"', ''],
    ints: [1, -2],
    jsons: [{ a: 1 }, [2]],
    roles: ['ADMIN', 'USER'],
    days: [at],
    address: '10.0.0.1',
  }
  await prisma.kinds.create({ data })
  await prisma.kinds.create({ data: { id: 2, data: Prisma.JsonNull } })
  return prisma.kinds.findMany({ orderBy: { id: 'asc' } })
})
await test('filters on JSON and arrays', async () => {
  const ids = async (where) =>
    (await prisma.kinds.findMany({ where, select: { id: true } })).map(({ id }) => id)
  return [
    await ids({ data: { path: ['nested', '2'], equals: 'é' } }),
    await ids({ data: { path: ['nested'], array_contains: [1] } }),
    await ids({ data: { equals: Prisma.JsonNull } }),
    await ids({ texts: { has: 'a,b' } }),
    await ids({ ints: { hasSome: [7, -2] } }),
    await ids({ roles: { isEmpty: true } }),
  ]
})
await test('raw queries', async () => [
  await prisma.$queryRaw`select ${1}::int + 1 as two, ${'x'} as text, ${[1, 2]}::int[] as list, now() is null as "no"`,
  await prisma.$queryRawUnsafe('select $1::jsonb as j, 2::numeric as n, 3::bigint as b', '{"a":1}'),
  await prisma.$executeRaw`update "Post" set views = views + 1`,
  await prisma.$queryRaw(
    Prisma.sql`select title from "Post" where title in (${Prisma.join(['one', 'two'])}) order by 1`,
  ),
])
await test('a batch', () =>
  prisma.$transaction([
    prisma.tag.create({ data: { name: 'green' } }),
    prisma.tag.count(),
    prisma.$queryRaw`select count(*)::int n from "Tag"`,
  ]))
await test('a batch that fails', async () => {
  const failed = await prisma
    .$transaction([
      prisma.tag.create({ data: { name: 'gone' } }),
      prisma.tag.create({ data: { name: 'green' } }),
    ])
    .catch(plain)
  return [failed, await prisma.tag.count({ where: { name: 'gone' } })]
})
await test('an interactive transaction', () =>
  prisma.$transaction(
    async (tx) => {
      await tx.tag.create({ data: { name: 'inside' } })
      const outside = await prisma.tag.count({ where: { name: 'inside' } })
      const [{ level }] =
        await tx.$queryRaw`select current_setting('transaction_isolation') as level`
      return [outside, await tx.tag.count({ where: { name: 'inside' } }), level]
    },
    { isolationLevel: 'Serializable' },
  ))
await test('an interactive transaction that is rolled back', async () => {
  const failed = await prisma
    .$transaction(async (tx) => {
      await tx.tag.create({ data: { name: 'undone' } })
      throw new Error('on purpose')
    })
    .catch(({ message }) => message)
  return [failed, await prisma.tag.count({ where: { name: 'undone' } })]
})
await test('an interactive transaction that takes too long', async () => {
  const failed = await prisma
    .$transaction(
      async (tx) => {
        await tx.tag.create({ data: { name: 'late' } })
        await tx.$queryRaw`select pg_sleep(0.6)::text`
        await tx.tag.count()
      },
      { timeout: 200 },
    )
    .catch(({ name, code }) => [name, code])
  return [failed, await prisma.tag.count({ where: { name: 'late' } })]
})
await test('errors', async () => [
  await prisma.user.create({ data: { email: 'a@x' } }).catch(plain),
  await prisma.user.delete({ where: { email: 'nobody' } }).catch(plain),
  await prisma.post.create({ data: { id: uuid(9), title: 't', authorId: 999 } }).catch(plain),
  await prisma.$queryRaw`select 1/0`.catch(plain),
  await prisma.$queryRawUnsafe('select * from nowhere').catch(plain),
  await prisma.$executeRaw`insert into "Tag" values (null)`.catch(plain),
])
await test('many at once', async () => {
  const increments = Array.from({ length: 40 }, (_, index) =>
    index % 4 === 0
      ? prisma.$transaction(
          async (tx) => {
            const { views } = await tx.post.update({
              where: { id: uuid(1) },
              data: { views: { increment: 1 } },
            })
            return views > 0
          },
          { maxWait: 20_000, timeout: 20_000 },
        )
      : prisma.post.update({ where: { id: uuid(1) }, data: { views: { increment: 1 } } }),
  )
  await Promise.all(increments)
  const { views } = await prisma.post.findUniqueOrThrow({ where: { id: uuid(1) } })
  const reads = await Promise.all(Array.from({ length: 40 }, () => prisma.user.count()))
  return [views, new Set(reads).size]
})
await prisma.$disconnect()
