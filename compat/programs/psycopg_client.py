"""psycopg 3 over libpq: types, server-side cursors, COPY, pipelines, notifications, errors."""
import datetime
import json
import logging
import os

import psycopg
from psycopg.rows import dict_row


def test(name, run):
    print(f"== {name}")
    try:
        value = run()
        print(value if isinstance(value, str) else json.dumps(value, default=str, indent=1))
    except NotImplementedError as error:
        print(error)
    except psycopg.Error as error:
        diag = error.diag
        print(type(error).__name__, diag.sqlstate, diag.message_primary, diag.constraint_name)


logging.disable()
conn = psycopg.connect(autocommit=True, application_name="snake")
one = lambda sql, args=None: conn.execute(sql, args).fetchone()

test("types", lambda: one(
    "select 1::int2, 2::int8, 1.5::float8, 1.10::numeric, true, 'x'::text, '\\x00ff'::bytea,"
    " '2020-01-02 03:04:05+00'::timestamptz, '1 day'::interval, array[1,null], '{\"a\":1}'::jsonb, null"))
test("binary", lambda: conn.cursor(binary=True).execute(
    "select 1::int4, 'a'::text, now() - now(), array[1.5::float8], gen_random_uuid() is not null").fetchone())
test("parameters", lambda: one("select %s::int + 1, %s::text, %s::date, %s::jsonb", (
    41, "it's", datetime.date(2020, 1, 2), psycopg.types.json.Jsonb({"a": 1}))))


def tables():
    conn.execute("create table t (id serial primary key, name text unique)")
    with conn.cursor() as cur:
        cur.executemany("insert into t (name) values (%s) returning id", [("a",), ("b",)], returning=True)
        return [cur.rowcount, cur.statusmessage]


test("executemany", tables)
test("unique", lambda: conn.execute("insert into t (name) values ('a')"))


def transaction():
    seen = []
    try:
        with conn.transaction():
            conn.execute("insert into t (name) values ('x')")
            try:
                with conn.transaction():
                    conn.execute("select 1/0")
            except psycopg.errors.DivisionByZero:
                seen.append(str(conn.info.transaction_status))
            raise psycopg.Rollback()
    finally:
        seen.append(one("select count(*) from t"))
        return seen


test("nested transactions", transaction)


def server_cursor():
    with conn.transaction(), conn.cursor("named", row_factory=dict_row) as cur:
        cur.execute("select generate_series(1, 10) n")
        return [cur.fetchmany(2), len(cur.fetchall())]


test("a cursor of the server", server_cursor)


def copy():
    with conn.cursor() as cur:
        with cur.copy("copy t (name) from stdin") as into:
            for name in ("c", None, "d\te"):
                into.write_row((name,))
        with cur.copy("copy (select name from t order by id) to stdout (format binary)") as out:
            out.set_types(["text"])
            return list(out.rows())


test("COPY in, and out in binary", copy)


def pipeline():
    with conn.pipeline():
        cursors = [conn.execute("select %s::int", (n,)) for n in range(5)]
        return [cur.fetchone()[0] for cur in cursors]


test("a pipeline", pipeline)


def broken_pipeline():
    with conn.pipeline():
        conn.execute("select 1/0")
        conn.execute("select 2")


test("a pipeline that fails", broken_pipeline)


def notifications():
    with psycopg.connect(autocommit=True) as other:
        conn.execute("listen news")
        other.execute("select pg_notify('news', 'hello')")
        other_pid = other.info.backend_pid
        return [(n.channel, n.payload, n.pid == other_pid) for n in conn.notifies(timeout=2, stop_after=1)]


test("notifications", notifications)


def settings():
    status = lambda name: conn.info.parameter_status(name)
    seen = [status("DateStyle"), status("application_name")]
    conn.execute("set datestyle = german; set timezone = 'Europe/Rome'; set standard_conforming_strings = off")
    seen += [status("DateStyle"), status("TimeZone"), status("standard_conforming_strings")]
    seen += [one("select '2020-02-03'::date, '2020-02-03 04:05:06'::timestamp")]
    conn.execute("reset all")
    return seen


test("settings that are reported", settings)


def cancel():
    import threading
    threading.Timer(0.3, conn.cancel_safe).start()
    conn.execute("select pg_sleep(20)")


test("cancel", cancel)
test("after it", lambda: one("select 1"))


def prepared():
    for _ in range(7):
        conn.execute("select %s::int * 2", (2,))
    return one("select count(*) from pg_prepared_statements where statement like 'select $1::int * 2'")


test("prepared after five", prepared)


def notices():
    seen = []
    conn.add_notice_handler(lambda d: seen.append((d.severity, d.message_primary)))
    conn.execute("do $$ begin raise notice 'one'; raise warning 'two'; end $$")
    return seen


test("notices", notices)
test("pids", lambda: [conn.info.backend_pid == one("select pg_backend_pid()")[0]])


def two_phase():
    xid = conn.xid(1, "a", "b")
    conn.tpc_begin(xid)
    conn.execute("select 1")
    conn.tpc_prepare()


test("two-phase commit without max_prepared_transactions", two_phase)
conn.close()
