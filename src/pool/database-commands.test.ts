import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { concatBytes, fromUtf8, utf8 } from '../base/bytes.ts'
import { PgnapError } from '../base/errors.ts'
import type { TenantName } from '../base/ids.ts'
import type { DatabaseStatement } from '../engine/database-statements.ts'
import type { Slot } from '../engine/engine.ts'
import { message } from '../base/protocol-message.ts'
import { carriedOut, noteAsked } from './database-commands.ts'
import type { DatabaseService } from './database-service.ts'
import { eachMessage } from '../base/message-frames.ts'

const HOME = 'home' as TenantName
let log: string[]
let client: Parameters<typeof noteAsked>[0]
beforeEach(() => {
  log = []
  client = { tenant: { entry: { name: HOME } }, asked: undefined, mayMakeDatabases: true }
})

const service: DatabaseService = {
  async create(name, from, template) {
    if (name === 'taken') throw new PgnapError('TENANT_EXISTS', 'it exists')
    log.push(`create ${name} from ${from}, template ${template}`)
  },
  async drop(name, _from, force) {
    if (name === 'missing') throw new PgnapError('TENANT_UNKNOWN', 'it does not exist')
    log.push(`drop ${name}${force ? ' by force' : ''}`)
  },
}

const statement = (parts: Partial<DatabaseStatement>): DatabaseStatement => ({
  kind: 'create',
  name: 'new',
  missingOk: false,
  bySuperuser: true,
  options: new Map(),
  ...parts,
})

const done = (tag: string): Uint8Array => message('C', utf8(`${tag}\0`))
const READY = message('Z', utf8('I'))

/** A slot that has read `statements`, and says whether a role may make databases. */
function slotOf(statements: readonly DatabaseStatement[], mayCreate = false): Slot {
  const row = message('D', new Uint8Array([0, 1, 0, 0, 0, 1, 0x31]))
  const slot: Pick<Slot, 'takeDatabaseStatements' | 'transactionStatus' | 'run'> = {
    takeDatabaseStatements: () => statements,
    transactionStatus: 'idle',
    run: () => (mayCreate ? row : new Uint8Array(0)),
  }
  return slot as Slot
}

/** Letters of the answer that a client gets, with the codes of errors. */
async function answerTo(
  statements: readonly DatabaseStatement[],
  answer: readonly Uint8Array[],
  { mayCreate = false, complete = true, noService = false } = {},
): Promise<string> {
  const slot = slotOf(statements, mayCreate)
  const noted = noteAsked(client, slot, { answer: concatBytes([...answer]), complete })
  const told = await carriedOut(client, noted, noService ? undefined : service)
  const words: string[] = []
  eachMessage(told, (type, at, end) => {
    const fields = fromUtf8(told.slice(at + 5, end)).split('\0')
    const code = fields.find((field) => /^C\w{5}$/.test(field))?.slice(1)
    words.push(`${String.fromCharCode(type ?? 0)}${code ?? ''}`)
  })
  return words.join(' ')
}

test('an answer with nothing of this in it passes as it is', () => {
  const answer = concatBytes([done('SELECT 1'), READY])
  assert.equal(noteAsked(client, slotOf([]), { answer, complete: true }), answer)
  assert.equal(carriedOut(client, answer, service), answer)
})

test('is done before it is answered, in order', async () => {
  const statements = [
    statement({}),
    statement({ kind: 'drop', options: new Map([['force', undefined]]) }),
  ]
  const answer = [done('SELECT 1'), done('CREATE DATABASE'), READY, done('DROP DATABASE'), READY]
  assert.equal(await answerTo(statements, answer), 'C C Z C Z')
  assert.deepEqual(log, ['create new from home, template undefined', 'drop new by force'])
  assert.equal(client.asked, undefined)
})

test('a refusal stands in the place of its answer, and ends its pipeline', async () => {
  const statements = [
    statement({ name: 'taken' }),
    statement({ name: 'skipped' }),
    statement({ kind: 'drop' }),
  ]
  const [create, drop, select] = ['CREATE DATABASE', 'DROP DATABASE', 'SELECT 1'].map(done)
  assert.ok(create && drop && select)
  const answer = [select, create, select, create, READY, select, drop, READY]
  assert.equal(await answerTo(statements, answer), 'C E42P04 Z C C Z')
  assert.deepEqual(log, ['drop new'])
})

test('templates that are empty are none', async () => {
  for (const template of ['template0', 'template1', undefined, 'other']) {
    const options = new Map([['template', template]])
    await answerTo([statement({ options })], [done('CREATE DATABASE'), READY])
  }
  const templates = ['undefined', 'undefined', 'undefined', 'other']
  assert.deepEqual(
    log,
    templates.map((template) => `create new from home, template ${template}`),
  )
})

test('only a superuser copies what is not empty', async () => {
  const ask = (template: string): Promise<string> => {
    const options = new Map([['template', template]])
    const statements = [statement({ options, bySuperuser: false })]
    return answerTo(statements, [done('CREATE DATABASE'), READY], { mayCreate: true })
  }
  assert.equal(await ask('other'), 'E42501 Z')
  assert.equal(await ask('template1'), 'C Z')
  assert.deepEqual(log, ['create new from home, template undefined'])
})

test('options that are none, and encodings that are not there', async () => {
  const answer = [done('CREATE DATABASE'), READY]
  const tell = (name: string, value?: string): Promise<string> =>
    answerTo([statement({ options: new Map([[name, value]]) })], answer)
  assert.equal(await tell('colour', 'red'), 'E42601 Z')
  assert.equal(await tell('encoding', 'SQL_ASCII'), 'E0A000 Z')
  assert.equal(await tell('encoding', 'utf8'), 'C Z')
  const drop = statement({ kind: 'drop', options: new Map([['gently', undefined]]) })
  assert.equal(await answerTo([drop], [done('DROP DATABASE'), READY]), 'E42601 Z')
})

test('IF EXISTS notes what is missing', async () => {
  const parts = { kind: 'drop', name: 'missing' } as const
  const answer = [done('DROP DATABASE'), READY]
  assert.equal(await answerTo([statement(parts)], answer), 'E3D000 Z')
  assert.equal(await answerTo([statement({ ...parts, missingOk: true })], answer), 'N00000 C Z')
})

test('who is no superuser may if its role may, and is not asked in mid-batch', async () => {
  const statements = [statement({ bySuperuser: false })]
  const answer = [done('CREATE DATABASE'), READY]
  assert.equal(await answerTo(statements, answer), 'E42501 Z')
  assert.equal(await answerTo(statements, answer, { mayCreate: true }), 'C Z')
  const inTheMiddle = { mayCreate: true, complete: false }
  assert.equal(await answerTo(statements, answer, inTheMiddle), 'E42501 Z')
  assert.equal(await answerTo([statement({})], answer, { noService: true }), 'E0A000 Z')
  client = { ...client, mayMakeDatabases: false }
  assert.equal(await answerTo([statement({})], answer), 'E42501 Z', 'nor if the server forbids it')
})
