/**
 * CREATE DATABASE and DROP DATABASE are about tenants here, so Postgres does not carry them out: it
 * reads them, says what is wrong with where they stand (in a transaction, in a function), and
 * whoever runs the slot finds them noted. The hook that Postgres has for utility statements gets
 * their parse tree, so no SQL is read here, and none is mistaken for another.
 *
 * Source: Postgres 18, utility.h (ProcessUtility_hook_type), parsenodes.h (CreatedbStmt,
 * DropdbStmt, DefElem), plannodes.h (PlannedStmt), pg_list.h; on a machine with pointers of 32
 * bits.
 */
import { assert } from '../base/assert.ts'
import { textAt, utf8 } from '../base/bytes.ts'
import type { DatabaseScans } from './database-scan.ts'
import type { Instance } from './instance.ts'
import type { MemorySearch } from './memory-search.ts'
import { LIST_ELEMENTS_AT } from './session-memory.ts'

/** What a session asks for; names as Postgres has read them. */
export interface DatabaseStatement {
  readonly kind: 'create' | 'drop'
  readonly name: string
  /** IF EXISTS. */
  readonly missingOk: boolean
  /** The session acts as a superuser. */
  readonly bySuperuser: boolean
  /** By name; undefined: DEFAULT, or said without a value. */
  readonly options: ReadonlyMap<string, string | undefined>
}

/** Where a utility statement hangs in its plan, and the tags of the two: they differ by version. */
export interface StatementAnchors {
  readonly utilityAt: number
  readonly createTag: number
  readonly dropTag: number
}

export const probeDatabase = 'pgnap_probe'
/** How far into a plan its statement is looked for. */
const PLAN_BYTES = 128
/** Both statements: tag, name. */
const NAME_AT = 4
const CREATE_OPTIONS_AT = 8
const DROP_MISSING_OK_AT = 8
const DROP_OPTIONS_AT = 12
/** struct List: its length; struct DefElem: its name and value. */
const LIST_LENGTH_AT = 4
const OPTION_NAME_AT = 8
const OPTION_VALUE_AT = 12
/** enum ProcessUtilityContext. */
const TOP_LEVEL = 0
/** Room on the stack, which is aligned to 16 bytes, for the longer of the two. */
const WORDS_ROOM = 16
const WORDS = { create: utf8('CREATE DATABASE\0'), drop: utf8('DROP DATABASE\0') } as const

/** Puts our function where Postgres looks for a hook, in a memory in which it has not started. */
export function hookUtility(memory: MemorySearch, instance: Instance): void {
  const at = instance.addressOf('ProcessUtility_hook')
  assert(memory.word(at) === 0, 'nobody else has a hook')
  memory.setWord(at, instance.lent.utility)
}

/** Finds out what the two look like: `run` is to say both of {@link probeDatabase}. */
export function findStatementAnchors(
  instance: Instance,
  run: (statement: string) => void,
): StatementAnchors {
  const found: { utilityAt: number; tag: number }[] = []
  instance.lent.onUtility = (plan) => {
    const heap = instance.module.HEAPU8
    const view = new DataView(heap.buffer)
    for (let offset = 0; offset < PLAN_BYTES; offset += 4) {
      const statement = view.getUint32(plan + offset, true)
      if (statement === 0 || statement + NAME_AT + 4 > heap.length) continue
      if (textAt(heap, view.getUint32(statement + NAME_AT, true)) !== probeDatabase) continue
      found.push({ utilityAt: offset, tag: view.getUint32(statement, true) })
    }
  }
  run(`create database ${probeDatabase}`)
  run(`drop database ${probeDatabase}`)
  instance.lent.onUtility = undefined
  const [create, drop] = found
  assert(create && drop && found.length === 2, 'each statement hangs in one place')
  assert(create.utilityAt === drop.utilityAt && create.tag !== drop.tag, 'and both in the same')
  return { utilityAt: create.utilityAt, createTag: create.tag, dropTag: drop.tag }
}

/** Of one slot. */
export class DatabaseStatements {
  readonly #instance: Instance
  readonly #anchors: StatementAnchors
  readonly #scans: Pick<DatabaseScans, 'utility' | 'stepAside' | 'stepBack'>
  #noted: DatabaseStatement[] = []

  /** @param scans in whose hands are those statements that are no business of this */
  constructor(
    instance: Instance,
    anchors: StatementAnchors,
    scans: Pick<DatabaseScans, 'utility' | 'stepAside' | 'stepBack'>,
  ) {
    this.#scans = scans
    this.#instance = instance
    this.#anchors = anchors
    instance.lent.onUtility = (plan, context, process) => this.#utility(plan, context, process)
    instance.lent.utilities = {
      isOurs: (plan) => this.#isOurs(this.#word(this.#statement(plan))),
      stepAside: (plan) => scans.stepAside(this.#statement(plan)),
      stepBack: () => scans.stepBack(),
    }
  }

  /** What has been asked for since the last time, in order. */
  take(): readonly DatabaseStatement[] {
    return this.#noted.length === 0 ? NONE : this.#noted.splice(0)
  }

  #statement(plan: number): number {
    return this.#word(plan + this.#anchors.utilityAt)
  }

  #isOurs(tag: number): boolean {
    return tag === this.#anchors.createTag || tag === this.#anchors.dropTag
  }

  /** Throws what wasm throws. */
  #utility(plan: number, context: number, process: () => void): void {
    const statement = this.#statement(plan)
    const tag = this.#word(statement)
    if (!this.#isOurs(tag)) return this.#scans.utility(statement, process)
    const kind = tag === this.#anchors.createTag ? 'create' : 'drop'
    this.#preventInTransaction(kind, context)
    const optionsAt = kind === 'create' ? CREATE_OPTIONS_AT : DROP_OPTIONS_AT
    this.#noted.push({
      kind,
      name: this.#text(statement + NAME_AT),
      missingOk: kind === 'drop' && (this.#word(statement + DROP_MISSING_OK_AT) & 0xff) !== 0,
      bySuperuser: this.#instance.functionOf('superuser')() !== 0,
      options: this.#options(this.#word(statement + optionsAt)),
    })
  }

  #preventInTransaction(kind: DatabaseStatement['kind'], context: number): void {
    const stackPointer = this.#instance.module.___stack_pointer
    const stackTop: unknown = stackPointer.value
    const wordsAt = Number(stackTop) - WORDS_ROOM
    stackPointer.value = wordsAt
    this.#instance.module.HEAPU8.set(WORDS[kind], wordsAt)
    const prevent = this.#instance.functionOf('PreventInTransactionBlock')
    prevent(context === TOP_LEVEL ? 1 : 0, wordsAt)
    stackPointer.value = stackTop
  }

  #options(list: number): ReadonlyMap<string, string | undefined> {
    const options = new Map<string, string | undefined>()
    if (list === 0) return options
    const toText = this.#instance.functionOf('defGetString')
    const elements = this.#word(list + LIST_ELEMENTS_AT)
    for (let index = 0; index < this.#word(list + LIST_LENGTH_AT); index++) {
      const option = this.#word(elements + index * 4)
      const hasValue = this.#word(option + OPTION_VALUE_AT) !== 0
      const value = hasValue
        ? textAt(this.#instance.module.HEAPU8, Number(toText(option)))
        : undefined
      options.set(this.#text(option + OPTION_NAME_AT), value)
    }
    return options
  }

  #text(pointerAt: number): string {
    return textAt(this.#instance.module.HEAPU8, this.#word(pointerAt))
  }

  #word(at: number): number {
    return new DataView(this.#instance.module.HEAPU8.buffer).getUint32(at, true)
  }
}

const NONE: readonly DatabaseStatement[] = []
