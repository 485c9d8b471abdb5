/** psql, as people use it. A psql older than the server knows some catalogs by other names. */
import { join } from 'node:path'
import { folder, output, section } from './tool.mjs'

const psql = (input, ...args) => output('psql', ['-X', '-P', 'pager=off', ...args], { input })

const SCHEMA = `
create type mood as enum ('sad', 'ok', 'happy');
create table author (id int generated always as identity primary key, name text not null unique,
  born date default '2000-01-01', feeling mood, check (name <> ''));
create table book (id bigserial primary key, author int references author on delete cascade,
  title varchar(80) collate "C", price numeric(8,2), tags text[], data jsonb);
create index book_title on book (lower(title)) where price > 0;
create view cheap as select title, price from book where price < 10;
create function twice(n int) returns int language sql immutable return n * 2;
create procedure note(inout n int) language plpgsql as $$ begin n := n + 1; end $$;
create trigger touch before update on book for each row
  execute function suppress_redundant_updates_trigger();
comment on table book is 'what authors write';
create materialized view counts as select author, count(*) from book group by author;
create sequence lonely increment 5;
create schema other; create domain other.small as int check (value < 10);
create policy mine on book using (author = 1);`

section('schema')
process.stdout.write(psql(SCHEMA))
for (const command of [
  ...[
    '\\d',
    '\\dt+',
    '\\d author',
    '\\d+ book',
    '\\d cheap',
    '\\d+ counts',
    '\\ds',
    '\\di+',
    '\\dv',
  ],
  ...[
    '\\df',
    '\\df+ twice',
    '\\sf twice',
    '\\dT+',
    '\\dn',
    '\\dn+',
    '\\dD other.*',
    '\\dp',
    '\\dx',
  ],
  ...[
    '\\du',
    '\\db',
    '\\dc',
    '\\do @>',
    '\\da+ bool_and',
    '\\dl',
    '\\dy',
    '\\dRp',
    '\\dew',
    '\\dL',
  ],
  ...['\\l', '\\dconfig work_mem', '\\encoding', '\\conninfo', '\\sv cheap', '\\z book', '\\dd'],
]) {
  section(command)
  process.stdout.write(psql(`${command}\n`))
}
section('errors')
process.stdout.write(
  psql(`\\set VERBOSITY verbose
select nothing from nowhere;
select 1 +;
insert into author (name) values ('a'), ('a');
do $$ begin raise notice 'n %', 1; raise exception 'own' using errcode = 'P0042', hint = 'h'; end $$;
\\errverbose
`).replaceAll(/, [a-z_]+\.c:\d+/g, ''),
)
section('transactions')
process.stdout.write(
  psql(`begin; insert into author (name) values ('x'); savepoint s; select 1/0; rollback to s;
\\set ON_ERROR_ROLLBACK on
select 1/0;
select count(*) from author; commit; table author;
\\if true
\\gset
\\endif
select 7 as n \\gset
select :n + 1; select :'n'; select 1 as a, 2 as b \\gx
select 'select ' || n from generate_series(1, 2) n \\gexec
select $1::int + $2 \\bind 3 4 \\g
`),
)
section('\\copy')
process.stdout.write(
  psql(`copy book (title, price) from stdin;
one\t1.5
two\t\\N
\\.
\\copy book (title, price) to '${join(folder, 'book.csv')}' csv header
\\copy book (title, price) from '${join(folder, 'book.csv')}' csv header
copy (select title, price from book order by id) to stdout;
`),
)
section('cursors and FETCH_COUNT')
process.stdout.write(
  psql(
    '\\set FETCH_COUNT 2\nselect generate_series(1, 5);\nbegin; declare c cursor for values (1), (2); fetch all c; move backward all c; fetch 1 c; commit;\n',
  ),
)
section('\\watch')
process.stdout.write(
  output('timeout', ['-s', 'INT', '3', 'psql', '-X', '-At'], { input: 'select 5 \\watch 1\n' })
    .split('\n')
    .filter((line) => line === '5')
    .slice(0, 2)
    .join('\n'),
)
console.log()
section('\\password')
process.stdout.write(
  psql(`create role somebody login;
\\password somebody
`),
)
process.stdout.write(
  psql(`alter role somebody password 'secret';
select rolpassword ~ '^SCRAM-SHA-256\\$4096:' from pg_authid where rolname = 'somebody';
drop role somebody;
`),
)
section('\\timing, \\o, \\!')
process.stdout.write(
  psql('\\timing on\nselect 1;\n\\timing off\n\\o /dev/null\nselect 2;\n\\o\n\\! echo 3\n'),
)
section('-c, -v, -f, exit codes')
process.stdout.write(psql('', '-c', 'select 1; select 2', '-c', 'select 1/0', '-c', 'select 3'))
process.stdout.write(
  psql('select :n;\nselect 1/0;\nselect 4;\n', '-v', 'n=9', '-v', 'ON_ERROR_STOP=1'),
)
process.stdout.write(psql('create table one_tx(n int); insert into one_tx values (1/0);', '-1'))
process.stdout.write(psql('\\dt one_tx\n'))
section('\\c and settings')
process.stdout.write(
  psql(
    "set search_path to other; \\c -\nshow search_path; \\c\nset application_name = 'x'; show application_name;\n",
  ),
)
