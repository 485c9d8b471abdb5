/**
 * What clients say in `sessions.mjs`: anything that a session is made of, right and wrong, at any
 * time. Nothing in here tells the time, chance, or a number that is a server's own.
 */
import { say } from './raw-client.mjs'

const NAMES = ['s1', 's2', '"S3"']
const CURSORS = ['c1', 'c2']
const SAVEPOINTS = ['a', 'b']

export const SETUP = `
create role r1; create schema s; grant usage on schema s to r1;
create table t (k int primary key, v int); create table u (n int); create sequence sq;
create table s.t2 (n int); grant select on t to r1;
create table d (n int references t (k) deferrable initially deferred);
insert into t select g, 0 from generate_series(1, 4) g;
create function f(int) returns int language plpgsql stable as
  $$ begin return (select count(*) from t where k < $1); end $$;
create function fset(int) returns text language sql set work_mem = '7MB' as
  $$ select current_setting('work_mem') $$;
create function fw(int) returns int language plpgsql as
  $$ begin insert into u values ($1); perform pg_notify('ch', 'fw'); return 1; end $$;
create procedure pw(int) language plpgsql as $$ begin insert into u values ($1); end $$;
create procedure pc(int) language plpgsql as
  $$ begin insert into u values ($1); commit; insert into u values ($1 + 1); rollback; end $$`

/** What another client asks while one has a transaction open. */
export const ASIDE = `
select count(*) from t
select 1
select k, v from t order by k
show work_mem
select 1/0
select f(3)`

const READS = `${ASIDE}
select * from t order by k limit 3
select current_user, session_user
show search_path
show transaction_isolation
show transaction_read_only
select nullif(current_setting('my.x', true), '')
select name, statement, parameter_types, from_sql from pg_prepared_statements order by 1
select name, generic_plans, custom_plans from pg_prepared_statements order by 1
select name, is_holdable, is_scrollable, statement from pg_cursors order by 1
table t order by k
values (1), (2)
explain (costs off) select * from t where k = 1
select fset(3)
select nosuch
select * from nosuchtable
select 'a'::int
select currval('sq')
select lastval()
show application_name
show timezone
select '2020-02-03'::date
select count(*) from pg_locks where locktype = 'advisory'
;
select 1; select 2
select 1; select 1/0; select 3
sel
select $1
select pg_current_xact_id_if_assigned() is null
select * from u order by 1
select count(*) from tt`

const WRITES = `
insert into t values (3, 1)
insert into t values (5, 1) on conflict (k) do update set v = t.v + 1 returning *
update t set v = v + 1 where k = 2
delete from t where k = 5 returning k
select nextval('sq')
select setval('sq', 10)
insert into u values (1) returning *
insert into u values (5000000000)
truncate u
select fw(1)
do $$ begin insert into u values (7); raise notice 'did %', 1; end $$
do $$ begin raise exception 'no'; exception when others then raise warning 'caught'; end $$
create table if not exists u2 (n int)
drop table if exists u2
alter table u add column if not exists z int
alter table u drop column if exists z
vacuum t
analyze u
insert into d values (99)
insert into d values (2); set constraints all immediate
create index if not exists ti on t (v)
drop index if exists ti
call pw(3)
call pc(4)
create or replace view vv as select k from t
select v from t where k = 1 for update
lock table t in share mode
lock table u`

const SETTINGS = `
set work_mem = '2MB'
set work_mem = 'zz'
reset work_mem
set local work_mem = '3MB'
set search_path = s, public
reset search_path
set my.x = '1'
reset my.x
set local my.x = 'loc'
set application_name = 'app é'
set timezone = 'Asia/Tokyo'
reset timezone
set datestyle = 'German'
reset datestyle
set role r1
reset role
set role none
set local role r1
set session authorization r1
reset session authorization
reset all
set nosuch = 1
select set_config('my.x', 'c', true)
select set_config('work_mem', '5MB', false)
set session characteristics as transaction isolation level repeatable read
set default_transaction_isolation = 'read committed'
set default_transaction_read_only = on
set default_transaction_read_only = off
set transaction read only
set constraints all deferred
set standard_conforming_strings = off
set standard_conforming_strings = on
set client_min_messages = warning
reset client_min_messages
set extra_float_digits = 0
set intervalstyle = iso_8601
reset intervalstyle
set names 'utf8'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
reset enable_seqscan`

const PREPARED = `
prepare NAME as select k from t where k = $1
prepare NAME (int) as insert into t values ($1, 0)
prepare NAME as select 1
execute NAME
execute NAME(2)
execute NAME('x')
deallocate NAME
deallocate all
explain (costs off) execute NAME(1)
create table u3 as execute NAME(1)
drop table if exists u3
discard plans
discard sequences
discard all`

const TRANSACTIONS = `
begin
begin
start transaction
commit
rollback
end
abort
begin read only
begin isolation level repeatable read
begin isolation level serializable
commit and chain
rollback and chain
savepoint SAVEPOINT
savepoint SAVEPOINT
rollback to SAVEPOINT
release SAVEPOINT
begin; select 1; commit
begin; insert into u values (3); rollback
commit; begin
set transaction isolation level repeatable read
set transaction read write
prepare transaction 'x'`

const CURSOR = `
declare CURSOR cursor for select k from t order by k
declare CURSOR cursor with hold for select g from generate_series(1, 5) g
declare CURSOR scroll cursor for select g from generate_series(1, 4) g
fetch 2 from CURSOR
fetch backward 1 from CURSOR
move 1 in CURSOR
close CURSOR
close all
fetch all from CURSOR
update t set v = 9 where current of CURSOR`

const TEMPORARY = `
create temp table tt (n int)
insert into tt values (1)
drop table tt
create temp table tt (n int) on commit drop
create temp table tt (n int) on commit delete rows
discard temp
select count(*) from pg_temp.tt
create temp view tv as select 1
drop view if exists tv
create temp sequence tq
select nextval('tq')`

const ADVISORY = `
select pg_advisory_lock(1)
select pg_advisory_unlock(1)
select pg_try_advisory_lock(2)
select pg_advisory_unlock_all()
select pg_advisory_xact_lock(3)
select pg_try_advisory_xact_lock(1)`

const CHANNELS = `
listen ch
listen "Ch2"
unlisten ch
unlisten *
notify ch
notify ch, 'p1'
select pg_notify('Ch2', 'p2')
notify ch, 'p1'; notify ch, 'p1'; notify ch, 'p3'`

const GROUPS = [
  ...[READS, READS, READS, WRITES, WRITES, WRITES, SETTINGS, SETTINGS, PREPARED, PREPARED],
  ...[TRANSACTIONS, TRANSACTIONS, TRANSACTIONS, CURSOR, TEMPORARY, ADVISORY, CHANNELS],
]
const PIPELINED = [READS, WRITES, SETTINGS, TRANSACTIONS, CURSOR, PREPARED, CHANNELS]

export const pick = (below, items) => items[below(items.length)]

function statement(below, group) {
  return pick(below, group.trim().split('\n'))
    .replaceAll('NAME', pick(below, NAMES))
    .replaceAll('CURSOR', pick(below, CURSORS))
    .replaceAll('SAVEPOINT', pick(below, SAVEPOINTS))
}

/** What a client sends at once, how it is written down, and how often it is answered. */
const step = (written, parts, readyCount = 1) => ({
  written,
  bytes: Buffer.concat(parts),
  readyCount,
})

export const query = (sql) => step(sql, [say.query(sql)])

export const aside = (below) => query(statement(below, ASIDE))

/** Messages of the extended protocol, each with what is written down of it. */
const PIECES = [
  (below) => whole(below),
  (below) => whole(below),
  (below) => whole(below),
  (below) => {
    const name = nameIn(below)
    const sql = pick(below, [
      'select k from t where k = $1',
      'select $1::text',
      'insert into t values ($1::int, 2)',
    ])
    return [
      [`parse ${name}: ${sql}`, say.parse(name, sql)],
      [`describe ${name}`, say.describe('S', name)],
    ]
  },
  (below) => {
    const name = nameIn(below)
    const values = pick(below, [[], ['3'], ['x'], [null]])
    return [
      [`bind ${name} ${JSON.stringify(values)}`, say.bind('', name, values)],
      ['execute', say.execute('')],
    ]
  },
  (below) => {
    const [kind, name] = [pick(below, ['S', 'P']), nameIn(below)]
    return [[`close ${kind} ${name}`, say.close(kind, name)]]
  },
  () => [
    ['parse, bind pp', say.parse('', 'select generate_series(1, 3)')],
    ['', say.bind('pp', '')],
    ['execute pp 2', say.execute('pp', 2)],
  ],
  () => [['execute pp 1', say.execute('pp', 1)]],
  () => [['sync', say.sync()]],
]

function nameIn(below) {
  return pick(below, ['', ...NAMES]).replaceAll('"', '')
}

function whole(below) {
  const sql = statement(below, pick(below, PIPELINED))
  return [
    [`run ${sql}`, say.parse('', sql)],
    ['', say.bind('', '')],
    ...(below(2) ? [['describe', say.describe('P', '')]] : []),
    ['', say.execute('', below(4) ? 0 : 1)],
  ]
}

function pipeline(below) {
  const pieces = Array.from({ length: 1 + below(4) }, () => pick(below, PIECES)(below)).flat()
  pieces.push(['sync', say.sync()])
  const written = pieces.map(([each]) => each).filter((each) => each !== '')
  const bytes = pieces.map(([, each]) => each)
  return step(written.join(' | '), bytes, written.filter((each) => each === 'sync').length)
}

const COPY_IN = say.query('copy u (n) from stdin')
const COPIES = [
  step('copy to stdout', [say.query('copy (select k from t order by k) to stdout')]),
  step('copy from stdin', [COPY_IN, say.copyData('11\n12\n'), say.copyDone()]),
  step('copy from stdin, nonsense', [COPY_IN, say.copyData('x\n'), say.copyDone()]),
  step('copy from stdin, given up', [COPY_IN, say.copyData('1\n'), say.copyFail('no more')]),
  step('copy from stdin; select 5', [
    say.query('copy u (n) from stdin; select 5'),
    say.copyData('13\n'),
    say.copyDone(),
  ]),
  step('copy from stdin, extended', [
    say.parse('copies', 'copy u (n) from stdin'),
    say.bind('', 'copies'),
    say.execute(''),
    say.copyData('14\n'),
    say.copyDone(),
    say.close('S', 'copies'),
    say.sync(),
  ]),
]

export function anything(below) {
  const kind = below(10)
  if (kind < 6) return query(statement(below, pick(below, GROUPS)))
  return kind < 9 ? pipeline(below) : pick(below, COPIES)
}
