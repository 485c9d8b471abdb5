/** A database with one of everything that a dump has to know, and rows that are hard to write. */
export const EVERYTHING: string = String.raw`
create extension hstore; create extension vector;
create schema shop; comment on schema shop is 'it''s a shop; or $$one$$';
create type shop.mood as enum ('sad', 'ok', 'it''s; fine');
create type shop.pair as (a int, b text);
create domain shop.small as int check (value < 10);
create sequence shop.odd start 3 increment 2 maxvalue 99 cycle; select nextval('shop.odd');
create function shop.twice(n int) returns int language sql immutable as 'select n * 2;';
create function shop.parts() returns int begin atomic
  select 1; select case when true then 2 else 3 end; end;
create function shop.touch() returns trigger language plpgsql as $body$ begin
  new.name := upper(new.name); -- it's; $$ here
  return new; end $body$;
create procedure shop.note(inout n int) language plpgsql as $$ begin n := n + 1; end $$;
create aggregate shop.total(int) (sfunc = int4pl, stype = int, initcond = '0');
create table shop.item (
  id int generated always as identity primary key, name text collate "C" not null default 'x;',
  price numeric(8,2) check (price >= 0), doubled numeric generated always as (price * 2) stored,
  mood shop.mood, few shop.small, pair shop.pair, tags text[] default '{}', data jsonb,
  bits bit varying(5), at timestamptz, span interval, raw bytea, h hstore, near vector(3),
  during tstzrange, addr inet, ok bool, f float8, u uuid, x char(3));
create table shop."odd ""name""; (1)" ("a b" int, "c;d" text); create table shop.none ();
create table shop.part (n bigserial, day date not null, primary key (n, day))
  partition by range (day);
create table shop.part_old partition of shop.part for values from (minvalue) to ('2020-01-01');
create table shop.part_rest partition of shop.part default;
create table shop.child (extra text) inherits (shop.item); create unlogged table shop.fast (n int);
create table shop.tied (
  item int references shop.item on delete cascade deferrable initially deferred);
create index on shop.item using gin (tags);
create index low on shop.item (lower(name), price desc nulls last) include (mood) where price > 1;
create view shop.cheap with (security_barrier) as
  select name, price from shop.item where price < 10;
create materialized view shop.counts as select mood, count(*) from shop.item group by mood;
create rule no_delete as on delete to shop.cheap do instead (select 1; select 2);
create trigger up before insert or update on shop.item for each row execute function shop.touch();
alter table shop.item enable row level security;
create policy mine on shop.item for select using (price > 0);
comment on column shop.item.price is E'in €\n\\.\n';
revoke all on function shop.twice from public; grant select (name) on shop.item to public;
insert into shop.item (name, price, mood, few, pair, tags, data, bits, at, span, raw, h, near,
  during, addr, ok, f, u, x) values
 ('a', 1.5, 'ok', 3, '(1,"x y")', '{a,"b c",NULL}', '{"a":[1,null]}', B'101', '2020-01-02 03:04Z',
  '1 mon 2 days', '\x00ff5c27', 'a=>1', '[1,2.5,-3]', '[2020-01-01,2020-02-01)', '10.0.0.1/8', true,
  'NaN', '00000000-0000-0000-0000-000000000001', 'x'),
 (E'line\nbreak\r\ttab\\\b\f\v', null, null, null, null, '{}', 'null', null, 'infinity', null, '',
  null, null, 'empty', null, false, '-Infinity', null, ''),
 ('\N', 0, 'it''s; fine', 1, null, null, null, '', null, null, null, null, null, null, null, null,
  1e-300, null, null),
 (E'\\.\n\\.\n', 0, null, null, null, null, '"\\."', null, null, null, null, null, null, null, null,
  null, null, null, null),
 ('', 0, null, null, null, null, '"日本 😀"', null, null, null, null, null, null, null, null,
  null, null, null, null);
insert into shop."odd ""name""; (1)"
  select n, repeat(md5(n::text), n % 9) || E';\n' from generate_series(1, 20000) n;
insert into shop.part (day) values ('2019-05-05'), ('2021-05-05'); insert into shop.tied values (1);
insert into shop.child (id, name, extra) values (9, 'c', 'd'); insert into shop.fast values (1);
refresh materialized view shop.counts; select lo_from_bytea(70000, '\x01025c27');
comment on large object 70000 is 'large';`
