/**
 * Clients with other encodings than UTF-8 beside one with it, in one tenant: each says and hears
 * its own, whatever the other one does in between.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { connectPg, missing, runClient } from '../support/clients.ts'
import { type ServerProcess, startServer } from '../support/server.ts'
import {
  errorOf,
  frame,
  latin1,
  valuesOf,
  WireClient,
  type WireMessage,
} from '../support/wire-client.ts'

let server: ServerProcess
before(async () => {
  server = await startServer({ flags: ['--shards', '1'] })
})
after(() => server[Symbol.asyncDispose]())

const connect = (
  tenant: string,
  encoding = 'LATIN1',
): Promise<WireClient & { greeted?: readonly WireMessage[] }> =>
  WireClient.connect(server, tenant, { client_encoding: encoding })
const nap = (tenant: string): Promise<unknown> =>
  server.request(`/v1/tenants/${tenant}/nap`, { method: 'POST' })
/** What an encoding has for a text, as the bytes of ISO 8859-1. */
const inUtf8 = (text: string): string => Buffer.from(text).toString('latin1')

/** Sync, and Parse, Bind and Execute with everything of one kind. */
const SYNC = frame('S')
const parse = (name: string, sql: string): Buffer => frame('P', `${name}\0${sql}\0\0\0`)
const int16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255])
const int32 = (value: number): Buffer => Buffer.from([0, 0, value >> 8, value & 255])
function bind(name: string, binary: boolean, ...values: readonly string[]): Buffer {
  const formats = binary ? [int16(1), int16(1)] : [int16(0)]
  const parameters = values.flatMap((value) => [int32(value.length), latin1(value)])
  return frame('B', `\0${name}\0`, ...formats, int16(values.length), ...parameters, ...formats)
}
const EXECUTE = frame('E', '\0', int32(0))

test('a text is the same in every encoding, by turns, over naps', async () => {
  await using one = await connect('turns')
  await using two = await connect('turns', 'WIN1252')
  await using three = await connectPg(server, 'turns')
  await using four = await connect('turns', 'EUC_JP')
  await one.query('create table café(naïve text)')
  await one.query(`insert into café values ('über')`)
  await two.query(`insert into caf\xe9 values ('\x80uro')`)
  await three.column(`insert into "café" values ('日本')`)
  for (const asleep of [false, true]) {
    if (asleep) await nap('turns')
    assert.equal(await one.value(`select naïve from café where naïve like 'ü%'`), 'über')
    assert.equal(
      await one.value('select naïve from café offset 1 limit 1'),
      '22P05 character with byte sequence 0xe2 0x82 0xac in encoding "UTF8" ' +
        'has no equivalent in encoding "LATIN1"',
    )
    assert.equal(await two.value(`select naïve from café where naïve like '\x80%'`), '\x80uro')
    assert.equal(await four.value(`select '\xc6\xfc\xcb\xdc'`), '\xc6\xfc\xcb\xdc')
    assert.equal(await four.value(`select octet_length('\xc6\xfc\xcb\xdc')`), '6')
    assert.deepEqual(await three.column('select "naïve" from "café"'), ['über', '€uro', '日本'])
  }
})

test('the startup packet, its options, SET and RESET say which it is', async () => {
  const reported = (messages: readonly WireMessage[] = []): string[] =>
    messages
      .filter(({ type }) => type === 'S')
      .map(({ body }) => body.toString('latin1').split('\0').slice(0, 2).join('='))
  await using one = await connect('which', 'latin1')
  assert.ok(reported(one.greeted).includes('client_encoding=LATIN1'))
  assert.equal(await one.value('show client_encoding'), 'LATIN1')
  assert.deepEqual(reported(await one.query('set client_encoding = win1252')), [
    'client_encoding=WIN1252',
  ])
  assert.equal(await one.value(`select U&'\\20AC'`), '\x80')
  assert.deepEqual(reported(await one.query('discard all')), ['client_encoding=LATIN1'])
  assert.equal(await one.value(`select U&'\\00E9'`), '\xe9')
  await one.query('begin; set local client_encoding = utf8')
  assert.equal(await one.value(`select U&'\\00E9'`), inUtf8('é'))
  await one.query('rollback')
  assert.equal(await one.value(`select U&'\\00E9'`), '\xe9')
  await one.query('begin; set client_encoding = koi8r; select 1/0')
  assert.match(await one.value('select 1'), /^25P02/)
  await one.query('rollback')
  assert.equal(await one.value(`select U&'\\00E9'`), '\xe9')
  await using two = await WireClient.connect(server, 'which', {
    options: '-c client_encoding=LATIN9 -c my.name=\u00e9',
  })
  assert.equal(await two.value(`select U&'\\20AC'`), '\xa4')
  assert.equal(await two.value('show my.name'), '\xe9')
  await one.query(`alter role postgres set client_encoding = 'LATIN2'`)
  await using three = await WireClient.connect(server, 'which')
  assert.ok(reported(three.greeted).includes('client_encoding=LATIN2'))
  assert.equal(await three.value(`select U&'\\0159'`), '\xf8')
  await using four = await WireClient.connect(server, 'which', { client_encoding: 'SQL_ASCII' })
  assert.equal(await four.value(`select '${inUtf8('é')}'`), inUtf8('é'))
  await using five = await WireClient.connect(server, 'which', { client_encoding: 'unicode' })
  assert.equal(await five.value(`select U&'\\00E9'`), inUtf8('é'))
  assert.match(await five.value(`set client_encoding = 'klingon'`), /^22023/)
})

test('parameters and results, as text and binary, prepared in both ways', async () => {
  await using one = await connect('prepared')
  await using other = await connect('prepared', 'UTF8')
  await one.say(parse('é', `select $1::text || 'ü', 'ñ'::text`), SYNC)
  await one.say(parse('è', `select 'other'::text`), SYNC)
  await one.query(`prepare "ö" as select 'sql-é' || $1::text`)
  await other.query(inUtf8(`prepare "ö" as select 'theirs'`))
  for (const asleep of [false, true]) {
    if (asleep) await nap('prepared')
    for (const binary of [false, true]) {
      const answer = await one.say(bind('é', binary, 'ä'), EXECUTE, SYNC)
      assert.deepEqual(valuesOf(answer), ['äü'])
    }
    assert.deepEqual(valuesOf(await one.say(bind('è', false), EXECUTE, SYNC)), ['other'])
    assert.equal(await one.value(`execute "ö"('ä')`), 'sql-éä')
    assert.equal(await other.value(inUtf8('execute "ö"')), 'theirs')
    assert.match(
      errorOf(await one.say(bind('ç', false), EXECUTE, SYNC)) ?? '',
      /"ç" does not exist/,
    )
  }
  await one.query('deallocate "ö"')
  assert.match(await one.value('execute "ö"'), /^26000 .*"ö"/)
})

test('what is no character is refused, and so is what has none', async () => {
  await using one = await connect('refused', 'EUC_KR')
  assert.equal(
    await one.value(`select '\xb0 '`),
    '22021 invalid byte sequence for encoding "EUC_KR": 0xb0 0x20',
  )
  assert.equal(
    await one.value(`select U&'\\20AC\\00F1'`),
    '22P05 character with byte sequence 0xc3 0xb1 in encoding "UTF8" ' +
      'has no equivalent in encoding "EUC_KR"',
  )
  await one.query('begin')
  assert.match(await one.value(`select '\xb0'`), /^22021/)
  assert.match(await one.value('select 1'), /^25P02/)
  await one.query('rollback')
  assert.equal(await one.value('select 1'), '1')
})

test('an error that cannot be told is told as one, and the session goes on', async () => {
  await using one = await connect('untold')
  const told = /^22P05 character with byte sequence 0xe2 0x82 0xac in encoding "UTF8"/
  const euro = `U&"\\20AC"`
  for (let round = 0; round < 20; round++) assert.match(await one.value(`select ${euro}`), told)
  await one.query('begin')
  const raising = `do $$ begin raise exception '%', U&'\\20AC'; end $$`
  assert.match(await one.value(raising), told)
  assert.match(await one.value('select 1'), /^25P02/)
  await one.query('rollback')
  assert.match(await one.value(raising.replace('exception', 'notice')), told)
  // What stands behind it in the pipeline is passed over.
  const piped = await one.say(parse('', `select ${euro}`), bind('', false), EXECUTE, SYNC)
  assert.equal(piped.map(({ type }) => type).join(''), 'EZ')
  await one.query('set statement_timeout = 50')
  assert.match(await one.value('select pg_sleep(9)'), /^57014/)
})

test('a statement that pauses leaves others their words', async () => {
  await using slow = await connect('pauses')
  await using quick = await connect('pauses', 'WIN1252')
  await using other = await connectPg(server, 'pauses')
  await slow.query(`create table t as select 'é'::text as a`)
  const sleeping = slow.value(`select a || 'ü' from t, pg_sleep(0.6)`)
  for (let round = 0; round < 5; round++) {
    assert.equal(await quick.value(`select '\x80' || a from t`), '\x80é')
    assert.equal(await other.value(`select '日' || a from t`), '日é')
  }
  assert.equal(await sleeping, 'éü')
})

test('COPY goes both ways, and finds its end', async () => {
  await using one = await connect('copies')
  await one.query('create table "é"("ü" text, n int)')
  const data = frame('d', 'ä\t1\nö\\t\t2\n')
  const asked = await WireClient.connect(server, 'copies', { client_encoding: 'LATIN1' })
  await using copier = asked
  assert.equal((await copier.query('copy "é" from stdin')).at(-1)?.type, 'G')
  const done = await copier.say(data, frame('c'))
  assert.equal(errorOf(done), undefined)
  assert.equal(await one.value('select string_agg("ü", \',\') from "é"'), 'ä,ö\t')
  const copied = (await one.query('copy "é" to stdout')).filter(({ type }) => type === 'd')
  assert.deepEqual(
    copied.map(({ body }) => body.toString('latin1')),
    ['ä\t1\n', 'ö\\t\t2\n'],
  )
  const utf8Copy = await one.query(`copy "é" to stdout (encoding 'UTF8')`)
  assert.equal(utf8Copy.find(({ type }) => type === 'd')?.body.toString(), 'ä\t1\n')
  // A quote behind a letter is a quote: this is no COPY.
  assert.equal(await one.value(`select 'é; copy x from stdin'`), 'é; copy x from stdin')
})

test('a byte that looks like a backslash, or a word, is none within a character', async () => {
  await using one = await connect('trails', 'SJIS')
  // The second byte of the one is a backslash, of the other a letter.
  const [table, copy] = ['\x95\x5c', '\x83\x63\x83\x6f\x83\x70\x83\x79']
  await one.query(`create table "${table}"(a text)`)
  assert.equal(await one.value(`select E'${copy}${table}' from "${table}"`), '')
  const started = await one.query(`select E'${table}'; copy "${table}" from stdin`)
  assert.equal(started.at(-1)?.type, 'G')
  await one.say(frame('d', `${copy}\n`), frame('c'))
  assert.equal(await one.value(`select a from "${table}"`), copy)
  await one.query(`listen "${table}"`)
  const heard = await one.query(`notify "${table}", '${copy}'`)
  assert.equal(
    heard.find(({ type }) => type === 'A')?.body.toString('latin1', 4),
    `${table}\0${copy}\0`,
  )
  await using two = await connect('trails', 'GB18030')
  assert.equal(await two.value(`select a = U&'\\30C4\\30D0\\30D1\\30DA' from "\xb1\xed"`), 't')
})

test('notifications come in the words of who hears them', async () => {
  await using one = await connect('heard')
  await using two = await connect('heard', 'UTF8')
  await using three = await connect('heard', 'WIN1252')
  for (const listener of [two, one, three]) {
    const name = listener === two ? inUtf8('é') : 'é'
    await listener.query(`listen "${name}"`)
    await listener.query('listen plain')
  }
  const heard = async (client: WireClient): Promise<string> => {
    const { type, body } = await client.next()
    if (type === 'E') return errorOf([{ type, body }]) ?? ''
    return body.toString('latin1', 4).split('\0').slice(0, 2).join(' ')
  }
  const own = await one.query(`notify "é", 'ü'`)
  const ownText = own.find(({ type }) => type === 'A')?.body.toString('latin1', 4)
  assert.equal(ownText, 'é\0ü\0')
  assert.equal(await heard(two), inUtf8('é ü'))
  assert.equal(await heard(three), 'é ü')
  await two.query(inUtf8(`notify plain, '€'`))
  assert.equal(await heard(three), 'plain \x80')
  assert.match(await heard(one), /^22P05/)
  // What it cannot hear itself it can say.
  assert.equal(errorOf(await three.query(`notify plain, '\x80'`)), undefined)
  assert.equal(await heard(two), inUtf8('plain €'))
  assert.match(await heard(one), /^22P05/)
  const unheard = await one.query(`do $$ begin perform pg_notify('plain', U&'\\20AC') ; end $$`)
  assert.equal(unheard.at(-1)?.type, 'Z')
  assert.equal(await heard(two), inUtf8('plain €'))
  assert.equal(await heard(three), 'plain \x80')
  assert.equal(await one.value('select 1'), '1')
})

test('beside an open transaction they read in a fork, and prepare what stays', async () => {
  await using writer = await connectPg(server, 'forks')
  await using reader = await connect('forks')
  await reader.query('create table t(a text)')
  await reader.query(`insert into t values ('é')`)
  await writer.client.query('begin')
  await writer.client.query(`insert into t values ('日')`)
  for (let round = 0; round < 5; round++) assert.equal(await reader.value('select a from t'), 'é')
  await reader.say(parse('p', `select a || 'ü' from t where a = 'é'`), SYNC)
  assert.deepEqual(valuesOf(await reader.say(bind('p', false), EXECUTE, SYNC)), ['éü'])
  await writer.client.query('commit')
  assert.deepEqual(valuesOf(await reader.say(bind('p', false), EXECUTE, SYNC)), ['éü'])
  assert.match(await reader.value(`select a from t where a <> 'é'`), /^22P05/)
  assert.equal(await writer.value(`select string_agg(a, ',') from t`), 'é,日')
})

test('what a fork cannot keep apart is answered by the backend', async () => {
  await using writer = await connectPg(server, 'apart')
  await using reader = await connect('apart')
  await reader.query('create table t(a text)')
  await reader.query(`insert into t values ('é')`)
  const open = async (): Promise<void> => {
    await writer.client.query('begin')
    await writer.client.query(`insert into t values ('ü')`)
    assert.equal(await reader.value('select count(*) from t'), '1')
  }
  await open()
  // These two names are the same to whoever takes them for UTF-8.
  const named = [parse('é', `select 'first'`), parse('è', `select 'second'`), SYNC]
  const first = reader.say(...named, bind('é', false), EXECUTE, SYNC)
  await writer.client.query('rollback')
  assert.equal(errorOf(await first), undefined)
  assert.deepEqual(valuesOf(await reader.answer()), ['first'])
  await open()
  await reader.say(parse('q', `select 'é' || '\xa4'`), SYNC)
  const changed = reader.query('set client_encoding = LATIN9')
  await writer.client.query('rollback')
  assert.equal(errorOf(await changed), undefined)
  // The sign of a currency has become that of another one.
  assert.equal(await reader.value(`select U&'\\20AC'`), '\xa4')
  const executed = await reader.say(bind('q', false), EXECUTE, SYNC)
  assert.match(errorOf(executed) ?? '', /^22P05 .* 0xc2 0xa4 /)
})

test('a session is shown in UTF-8, and comes back after a shutdown of its backend', async () => {
  await using one = await connect('shown')
  await using other = await connectPg(server, 'shown')
  // Without an image it boots from its store, and all is said again.
  await one.query('create unlogged table "ü"(n int)')
  await one.say(parse('p', `select 'é'::text`), SYNC)
  await one.query(`prepare "ö" as select 'ä'`)
  await one.query(`select 'question é'`)
  const shown = await other.column(
    `select query from pg_stat_activity where query like 'select ''q%'`,
  )
  assert.deepEqual(shown, [`select 'question é'`])
  await nap('shown')
  assert.equal(await one.value('execute "ö"'), 'ä')
  assert.deepEqual(valuesOf(await one.say(bind('p', false), EXECUTE, SYNC)), ['é'])
  assert.equal(await one.value('select n from "ü"'), '')
})

test('over HTTP everything is UTF-8', async () => {
  const ask = async (query: string): Promise<unknown> => {
    const body = JSON.stringify({ query })
    const headers = {
      'Neon-Connection-String': server.url('http'),
      'content-type': 'application/json',
    }
    const response = await server.request('/sql', { method: 'POST', body, headers })
    return response.json()
  }
  await ask(`alter role postgres set client_encoding = 'LATIN1'`)
  const { rows } = (await ask(`select 'é€' as a`)) as { rows: unknown }
  assert.deepEqual(rows, [{ a: 'é€' }])
})

test('psql on a console of Windows', { skip: missing('psql') }, async () => {
  const { stdout, status } = await runClient('psql', ['-XAtq'], server, 'console', {
    environment: { PGCLIENTENCODING: 'WIN1252' },
    input: `create table t(a text); insert into t values (U&'\\00E9');
      select a = U&'\\00E9', length(a) from t; show client_encoding;`,
  })
  assert.deepEqual([status, stdout], [0, 't|1\nWIN1252\n'])
})

test('an encoding that is not there is refused, with the way out', async () => {
  const refused = await connect('sjis', 'JOHAB')
  const error = refused.greeted?.find(({ type }) => type === 'E')?.body.toString() ?? ''
  assert.match(error, /0A000/)
  assert.match(error, /PGCLIENTENCODING/)
  await using one = await connect('sjis', 'UTF8')
  assert.match(await one.value(`set client_encoding = 'JOHAB'`), /^0A000/)
})

test('what is written survives a kill, in every encoding', async () => {
  await using first = await startServer({ flags: ['--shards', '1'] })
  {
    await using one = await WireClient.connect(first, 'killed', { client_encoding: 'KOI8R' })
    await one.query(`create table t(a text)`)
    await one.query(`insert into t values ('\xc1\xc2')`)
    await first.stop('SIGKILL')
  }
  await using second = await startServer({ flags: ['--shards', '1'], data: first.data })
  await using one = await WireClient.connect(second, 'killed', { client_encoding: 'WIN1251' })
  assert.equal(await one.value('select a from t'), '\xe0\xe1')
})
