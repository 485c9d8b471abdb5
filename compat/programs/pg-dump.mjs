/**
 * pg_dump 18, compiled to WASM, of a schema with everything in it, restored into itself by psql and
 * dumped again: both dumps have to be the same, and that of native Postgres.
 *
 * Its module sends and receives by two functions that cannot wait. So a thread has the connection,
 * and this one sleeps until the answer is there.
 */
import { createConnection } from 'node:net'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  isMainThread,
  MessageChannel,
  receiveMessageOnPort,
  Worker,
  workerData,
} from 'node:worker_threads'

const { PGPORT, PGDATABASE, COMPAT_FOLDER } = process.env
const ANSWER_MS_MAX = 20_000

/** In the thread: writes what it is sent, and answers when the server is ready for more. */
function carry({ port, signal }) {
  const socket = createConnection({ host: '127.0.0.1', port: Number(PGPORT) })
  let answer = Buffer.alloc(0)
  const tell = () => {
    port.postMessage(new Uint8Array(answer))
    answer = Buffer.alloc(0)
    Atomics.store(signal, 0, 1)
    Atomics.notify(signal, 0)
  }
  socket.on('data', (bytes) => {
    answer = Buffer.concat([answer, bytes])
    // Whole messages of which the last is ReadyForQuery.
    let at = 0
    let last
    while (at + 5 <= answer.length) {
      const end = at + 1 + answer.readInt32BE(at + 1)
      if (end > answer.length) return
      last = answer[at]
      at = end
    }
    if (at === answer.length && last === 0x5a) tell()
  })
  socket.on('error', tell).on('close', tell)
  port.on('message', (bytes) => socket.write(bytes))
}

async function main() {
  const { pgDump } = await import('@electric-sql/pglite-tools/pg_dump')
  const { output, section } = await import('./tool.mjs')
  const psql = (input, args = []) =>
    output('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', ...args], { input })

  const dump = async (args) => {
    const server = connect()
    const pg = {
      query: async () => ({ rows: [{ search_path: '"$user", public' }] }),
      exec: async () => {},
      execProtocolRawStream: (bytes, { onRawData }) => onRawData(server.send(bytes)),
    }
    try {
      return await (await pgDump({ pg, args: ['-d', PGDATABASE, ...args] })).text()
    } finally {
      server.end()
    }
  }

  section('a schema with everything in it')
  process.stdout.write(psql(SCHEMA))
  section('dump of the schema')
  const schema = await dump(['--schema-only'])
  console.log(comparable(schema))
  section('dump with data')
  const whole = await dump([])
  console.log(comparable(whole))
  section('dump that makes its database')
  process.stdout.write(psql(ABOUT))
  const making = await dump(['--create', '--schema-only'])
  console.log(aboutDatabase(making).replaceAll(PGDATABASE, 'NAME'))
  section('restored and dumped again')
  const file = join(COMPAT_FOLDER, 'dump.sql')
  writeFileSync(file, whole)
  process.stdout.write(psql(UNDO))
  process.stdout.write(psql('', ['-f', file]).replaceAll(/^\d*$\n?/gm, ''))
  const again = await dump([])
  console.log(comparable(again) === comparable(whole) ? 'the same' : comparable(again))
}

function connect() {
  const { port1, port2 } = new MessageChannel()
  const signal = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { port: port2, signal },
    transferList: [port2],
  })
  return {
    send: (bytes) => {
      Atomics.store(signal, 0, 0)
      port1.postMessage(new Uint8Array(bytes))
      if (Atomics.wait(signal, 0, 0, ANSWER_MS_MAX) === 'timed-out') throw new Error('no answer')
      return receiveMessageOnPort(port1)?.message ?? new Uint8Array(0)
    },
    end: () => worker.terminate(),
  }
}

/** Without what differs from dump to dump: versions, random tokens. */
function comparable(text) {
  return text
    .split('\n')
    .filter((line) => !/^--|^$|^\\(?:un)?restrict/.test(line))
    .join('\n')
}

/** Without the locale, which is another one. */
function aboutDatabase(text) {
  const lines = text.split('\n').filter((line) => /\bDATABASE\b|^.connect/.test(line))
  return lines.map((line) => line.replace(/ LOCALE.*/, '')).join('\n')
}

const ABOUT = `do $$ begin
  execute format('comment on database %I is %L', current_database(), 'a shop of many');
  execute format('grant temporary on database %I to pg_monitor', current_database());
  execute format('alter database %I set work_mem = %L', current_database(), '7MB');
  execute format('alter database %I connection limit 9', current_database());
end $$`

const UNDO = `set client_min_messages = error; drop publication changes; drop schema shop cascade;
  drop extension hstore, pgcrypto cascade; select lo_unlink(70000);`

const SCHEMA = `
create extension if not exists pgcrypto; create extension hstore;
create schema shop; comment on schema shop is 'it''s a shop';
create type shop.mood as enum ('sad', 'ok', 'happy'); create domain shop.small as int check (value < 10);
create type shop.pair as (a int, b text); create sequence shop.odd start 3 increment 2 cycle maxvalue 99;
create function shop.twice(n int default 2) returns int language sql immutable strict parallel safe return n * 2;
create function shop.touch() returns trigger language plpgsql security definer set search_path = pg_catalog as $f$ begin new.name := upper(new.name); return new; end $f$;
create procedure shop.note(inout n int) language plpgsql as $f$ begin n := n + 1; end $f$;
create aggregate shop.total(int) (sfunc = int4pl, stype = int, initcond = '0');
create operator shop.### (leftarg = int, rightarg = int, function = int4pl);
create table shop.item (id int generated always as identity primary key, name text collate "C" not null default 'x',
  price numeric(8,2) check (price >= 0), doubled numeric generated always as (price * 2) stored, mood shop.mood, few shop.small,
  pair shop.pair, tags text[] default '{}', data jsonb, bits bit varying(5), at timestamptz, span interval, raw bytea, h hstore,
  during tstzrange, addr inet, unique nulls not distinct (name, price)) with (fillfactor = 80);
create table shop.part (item int references shop.item on delete cascade deferrable initially deferred, n bigserial, day date not null, primary key (n, day)) partition by range (day);
create table shop.part_old partition of shop.part for values from (minvalue) to ('2020-01-01');
create table shop.part_rest partition of shop.part default;
create table shop.child (extra text) inherits (shop.item); create unlogged table shop.fast (n int);
create index item_tags on shop.item using gin (tags); create index item_low on shop.item (lower(name), price desc nulls last) include (mood) where price > 1;
create statistics shop.related (dependencies) on name, price from shop.item;
create view shop.cheap with (security_barrier) as select name, price from shop.item where price < 10 with check option;
create materialized view shop.counts as select mood, count(*) from shop.item group by mood with no data;
create rule no_delete as on delete to shop.cheap do instead nothing;
create trigger up before insert or update of name on shop.item for each row when (new.price > 0) execute function shop.touch();
alter table shop.item enable row level security; create policy mine on shop.item for select using (price > 0);
alter table shop.item add constraint no_overlap exclude using gist (during with &&);
comment on column shop.item.price is 'in €'; grant select (name), update on shop.item to public; revoke all on function shop.twice from public;
alter default privileges in schema shop grant select on tables to public;
insert into shop.item (name, price, mood, few, pair, tags, data, bits, at, span, raw, h, during, addr) values
 ('a', 1.5, 'ok', 3, '(1,"x y")', '{a,"b c",NULL}', '{"a":[1,null]}', B'101', '2020-01-02 03:04:05+00', '1 mon 2 days', '\\x00ff', 'a=>1', '[2020-01-01,2020-02-01)', '10.0.0.1/8'),
 (E'line\\nbreak\\ttab\\\\', null, null, null, null, '{}', 'null', null, 'infinity', null, '', null, null, null);
insert into shop.part values (1, default, '2019-05-05'), (2, default, '2021-05-05'); insert into shop.child (id, name, extra) values (9, 'c', 'd');
select nextval('shop.odd'); refresh materialized view shop.counts; select lo_from_bytea(70000, '\\x0102');
create publication changes for table shop.item; create event trigger watch on ddl_command_start execute function event_trigger_in();
`.replace(/create event trigger[^;]*;/, '')

if (isMainThread) await main()
else carry(workerData)
