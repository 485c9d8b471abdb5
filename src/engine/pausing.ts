/**
 * Lets a statement that runs pause, and its thread do something else meanwhile: other tenants'
 * statements in other slots, whoever knocks, timers.
 *
 * WebAssembly can be suspended where it calls a function that answers with a promise, if there is
 * nothing but WebAssembly between there and where it was entered (JavaScript Promise Integration,
 * V8 13.7). Postgres looks for interrupts wherever it may be ended, many thousand times a second;
 * if there are any it calls `ProcessInterrupts`, which first takes the flag down. In place of those
 * ten bytes the engine build puts a call of an import (`pausePatch`), here called the *door*, which
 * takes the flag down itself. Another thread raises the flag of what has run for a while; the door
 * asks whether it was for a pause, and suspends.
 *
 *     promising(run) -> main loop -> ... -> ProcessInterrupts -> door -> suspending(pause)
 *
 * `run` is WebAssembly as well: it catches what the loop throws and says how it has ended, so that
 * a statement which never pauses, as almost all do, is over when the call comes back.
 */
import { assert } from '../base/assert.ts'
import { javaScriptTag } from './invoke-code.ts'
import {
  assemble,
  CATCH,
  CODE,
  exporting,
  functionOf,
  functionType,
  globalOf,
  importing,
  NOTHING,
  signed,
  TYPE,
  unsigned,
} from './wasm-assembly.ts'
import { type BytePatch, onlyPlaceOf, type Place } from './wasm-module.ts'

/** An import that nobody needs: the group of a process that has one user. Its answer is zero. */
export const DOOR_IMPORT = '__syscall_getegid32'

/** Who decides about the pauses of a slot, and knows what its thread does. */
export interface PauseHost {
  /** Asked at each interrupt of a run that may pause. */
  wantsPause(): boolean
  /** When to go on, if whoever runs something does not say. Default: then it does not pause. */
  readonly pause?: () => Promise<void>
  /** The thread does something else from now on. */
  leave(): void
  /** It is back, or has never been away. */
  goOn(): void
  /** A run that had paused has ended. @returns what the client is to be told instead of `answer` */
  end(answer: Uint8Array | undefined): Uint8Array | undefined
  /** How long the thread was away from its runs so far, in ms. */
  readonly awayMs: number
}

/** What V8 takes the stack of an entry from is given for that moment. */
export interface StackRoom {
  /** Before the entry. */
  take(): void
  /** Once, after it. */
  giveBack(): void
}

/** What V8 has for it; TypeScript does not know it yet. */
interface PromiseIntegration {
  readonly Suspending: new (call: () => Promise<void>) => WebAssembly.ImportValue
  readonly promising: (call: unknown) => () => Promise<void>
}

const integration = WebAssembly as unknown as Partial<PromiseIntegration>

/** A global variable of a module. */
interface Cell {
  value: unknown
}

/** How a run has ended so far. */
const ENDED = { not: 0, done: 1, thrown: 2 } as const

/** How turns of the main loop went. */
export interface Turns {
  /** What it threw. */
  readonly error?: unknown
}

const FINE: Turns = {}

/** Of one instance. */
export class Pausing {
  /** What the module is to import as {@link DOOR_IMPORT}. */
  readonly door: unknown
  host: PauseHost | undefined
  /** Asked at each pause of what runs next when to go on. Default: its host is. */
  pause: (() => Promise<void>) | undefined
  /** Called whenever what has paused goes on. */
  onReturn: (() => void) | undefined
  readonly #code: PauseCode
  #mayPause = false
  #isEntering = false
  #isAway = false
  #takeFlagDown: () => void = () => {}
  #isMore: () => boolean = () => false
  #run: (() => Promise<void>) | undefined
  #ended: Cell | undefined
  #thrown: Cell | undefined
  #paused: Cell | undefined

  private constructor({ Suspending }: PromiseIntegration, code: PauseCode) {
    this.#code = code
    const env = {
      tag: javaScriptTag,
      wants: () => this.#wants(),
      suspend: new Suspending(() => this.#suspend()),
      goOn: () => this.comeBack(),
    } as unknown as WebAssembly.ModuleImports
    this.door = new WebAssembly.Instance(code.door, { env }).exports['door']
  }

  /** Undefined where statements cannot pause. */
  static open(code: PauseCode | undefined): Pausing | undefined {
    return code && isComplete(integration) ? new Pausing(integration, code) : undefined
  }

  /** Once, when the module is instantiated. */
  connect(loop: unknown, takeFlagDown: () => void): void {
    assert(isComplete(integration), 'an instance was opened for pauses')
    const { run } = this.#code
    const entered = (): void => this.#entered()
    const left = (): void => this.#leave()
    const more = (): number => (this.#isMore() ? 1 : 0)
    const functions = { entered, loop, more, left }
    const env = { tag: javaScriptTag, ...functions } as unknown as WebAssembly.ModuleImports
    const { exports } = new WebAssembly.Instance(run, { env })
    this.#run = integration.promising(exports['run'])
    this.#ended = exports['ended'] as Cell
    this.#thrown = exports['thrown'] as Cell
    this.#paused = exports['paused'] as Cell
    this.#takeFlagDown = takeFlagDown
  }

  /**
   * Turns of Postgres's main loop, until one throws or there is nothing more. One entry for all of
   * them, because it costs a fresh stack: some fifty microseconds. A promise if one has paused, or
   * trapped: who hears of its end has the thread {@link comeBack} first.
   * @param isMore asked after each of them
   */
  turns(isMore: () => boolean): Turns | Promise<Turns> {
    this.#isMore = isMore
    const run = this.#run
    const ended = this.#ended
    const paused = this.#paused
    assert(run && ended && paused, 'connected')
    ended.value = ENDED.not
    paused.value = 0
    this.#mayPause = true
    const running = this.#enter(run)
    if (ended.value !== ENDED.not) return this.#end()
    this.#leave()
    return running.then(
      () => this.#end(),
      (error: unknown) => this.#end(error),
    )
  }

  /** Calls the module from JavaScript, where it cannot pause. Throws what wasm throws. */
  without(call: () => void): void {
    const mayPause = this.#mayPause
    this.#mayPause = false
    try {
      call()
    } finally {
      this.#mayPause = mayPause
    }
  }

  #enter(run: () => Promise<void>): Promise<void> {
    this.#isEntering = true
    this.#code.room.take()
    try {
      return run()
    } finally {
      this.#entered()
    }
  }

  /** It has its stack. */
  #entered(): void {
    if (!this.#isEntering) return
    this.#isEntering = false
    this.#code.room.giveBack()
  }

  /**
   * What Postgres is to call for each utility statement: without JavaScript in between if that has
   * no part in it, so that it can pause.
   */
  utilityDoor(ways: UtilityWays): unknown {
    const env = { ...ways, tag: javaScriptTag } as unknown as WebAssembly.ModuleImports
    return new WebAssembly.Instance(this.#code.utility, { env }).exports['utility']
  }

  /** The thread does something else, in the middle of a run. */
  get isAway(): boolean {
    return this.#isAway
  }

  /** The thread does nothing but this run again. */
  comeBack(): void {
    if (!this.#isAway) return
    this.#isAway = false
    this.host?.goOn()
    this.onReturn?.()
  }

  #leave(): void {
    if (this.#isAway) return
    this.#isAway = true
    this.host?.leave()
  }

  #end(trap?: unknown): Turns {
    this.#mayPause = false
    const how = this.#ended?.value
    if (how === ENDED.done) return FINE
    if (how === ENDED.not) return { error: trap }
    const thrown = this.#thrown
    const error = thrown?.value
    if (thrown) thrown.value = null
    return { error }
  }

  #wants(): number {
    this.#takeFlagDown()
    if (!this.#mayPause || !(this.pause ?? this.host?.pause)) return 0
    return this.host?.wantsPause() ? 1 : 0
  }

  #suspend(): Promise<void> {
    assert(this.host && this.#paused, 'somebody wanted a pause')
    this.#paused.value = 1
    this.#leave()
    const goesOn = this.pause?.() ?? this.host.pause?.()
    assert(goesOn, 'somebody knows when it goes on')
    return goesOn
  }
}

/** The same for all instances. */
export interface PauseCode {
  readonly room: StackRoom
  readonly door: WebAssembly.Module
  readonly run: WebAssembly.Module
  readonly utility: WebAssembly.Module
}

/** What happens with a utility statement. */
export interface UtilityWays {
  /** Whether it is not Postgres's alone. */
  readonly isOurs: (plan: number, context: number) => number
  readonly ours: (...values: number[]) => void
  /** Prepares what is Postgres's alone; whether {@link back} is to be called at its end. */
  readonly aside: (plan: number) => number
  readonly back: () => void
  /** A function of the module. */
  readonly standard: unknown
}

/**
 * Undefined where statements cannot pause. Needs a runtime that compiles at run time.
 * @param room for stacks, or a statement that goes deep would lose its backend
 */
export function compilePausing(
  room: StackRoom,
  compile: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module,
): PauseCode | undefined {
  if (!javaScriptTag || !isComplete(integration)) return undefined
  return {
    room,
    door: compile(assembleDoor()),
    run: compile(assembleRun()),
    utility: compile(assembleUtility()),
  }
}

function isComplete(found: Partial<PromiseIntegration>): found is PromiseIntegration {
  return found.Suspending !== undefined && found.promising !== undefined
}

/** Types of both modules. */
const TYPES = [
  functionType([], [TYPE.i32]),
  functionType([], []),
  functionType([TYPE.externref], []),
  functionType([], [TYPE.externref]),
] as const
const [ANSWER, PROCEDURE, TAG, CAUGHT] = [0, 1, 2, 3] as const
const NULL_REFERENCE = [0xd0, TYPE.externref] as const

function assembleDoor(): Uint8Array<ArrayBuffer> {
  const [wants, suspend, goOn, door] = [0, 1, 2, 3] as const
  return assemble({
    types: TYPES,
    imports: [
      importing.function('wants', ANSWER),
      importing.function('suspend', PROCEDURE),
      importing.function('goOn', PROCEDURE),
      importing.tag('tag', TAG),
    ],
    functions: [ANSWER],
    exports: [exporting.function('door', door)],
    code: [
      functionOf(
        [],
        [
          [CODE.call, wants, CODE.if, NOTHING],
          // With JavaScript in between it throws: what runs goes on then.
          [CODE.block, ...signed(CAUGHT)],
          [CODE.tryTable, NOTHING, 1, CATCH.one, 0, 0],
          [CODE.call, suspend, CODE.end, ...NULL_REFERENCE, CODE.end, CODE.drop],
          [CODE.call, goOn, CODE.end],
          [CODE.i32Const, 0],
        ],
      ),
    ],
  })
}

function assembleRun(): Uint8Array<ArrayBuffer> {
  const [inside, loop, more, left, run] = [0, 1, 2, 3, 4] as const
  const [ended, thrown, paused] = [0, 1, 2] as const
  // What comes next in the thread may be something else, before anybody hears of this end.
  const leave = [CODE.globalGet, paused, CODE.if, NOTHING, CODE.call, left, CODE.end]
  return assemble({
    types: TYPES,
    imports: [
      importing.function('entered', PROCEDURE),
      importing.function('loop', PROCEDURE),
      importing.function('more', ANSWER),
      importing.function('left', PROCEDURE),
      importing.tag('tag', TAG),
    ],
    functions: [PROCEDURE],
    globals: [
      globalOf(TYPE.i32, [CODE.i32Const, ENDED.not]),
      globalOf(TYPE.externref, NULL_REFERENCE),
      globalOf(TYPE.i32, [CODE.i32Const, 0]),
    ],
    exports: [
      exporting.function('run', run),
      exporting.global('ended', ended),
      exporting.global('thrown', thrown),
      exporting.global('paused', paused),
    ],
    code: [
      functionOf(
        [],
        [
          [CODE.call, inside],
          [CODE.block, ...signed(CAUGHT)],
          [CODE.tryTable, NOTHING, 1, CATCH.one, 0, 0],
          [CODE.loop, NOTHING, CODE.call, loop, CODE.call, more, CODE.branchIf, 0, CODE.end],
          [CODE.end, CODE.i32Const, ENDED.done, CODE.globalSet, ended],
          [...leave, CODE.return, CODE.end],
          [CODE.globalSet, thrown, CODE.i32Const, ENDED.thrown, CODE.globalSet, ended],
          leave,
        ],
      ),
    ],
  })
}

function assembleUtility(): Uint8Array<ArrayBuffer> {
  const [isOurs, ours, standard, aside, back, utility] = [0, 1, 2, 3, 4, 5] as const
  const [statement, question, preparation, procedure, tag, caught] = [0, 1, 2, 3, 4, 5] as const
  const parameters = Array.from({ length: 8 }, (_, index) => index)
  const [plan, context] = [0, 3] as const
  const thrown = parameters.length
  const all = parameters.flatMap((index) => [CODE.localGet, index])
  return assemble({
    types: [
      functionType(
        parameters.map(() => TYPE.i32),
        [],
      ),
      functionType([TYPE.i32, TYPE.i32], [TYPE.i32]),
      functionType([TYPE.i32], [TYPE.i32]),
      functionType([], []),
      functionType([TYPE.externref], []),
      functionType([], [TYPE.externref, TYPE.exnref]),
    ],
    imports: [
      importing.function('isOurs', question),
      importing.function('ours', statement),
      importing.function('standard', statement),
      importing.function('aside', preparation),
      importing.function('back', procedure),
      importing.tag('tag', tag),
    ],
    functions: [statement],
    exports: [exporting.function('utility', utility)],
    code: [
      functionOf(
        [[1, TYPE.exnref]],
        [
          [CODE.localGet, plan, CODE.localGet, context, CODE.call, isOurs, CODE.if, NOTHING],
          [...all, CODE.call, ours, CODE.return, CODE.end],
          [CODE.localGet, plan, CODE.call, aside, CODE.if, NOTHING],
          [CODE.block, ...signed(caught)],
          [CODE.tryTable, NOTHING, 1, CATCH.oneWithReference, 0, 0],
          [...all, CODE.call, standard, CODE.end],
          [CODE.call, back, CODE.return, CODE.end],
          [CODE.localSet, thrown, CODE.drop, CODE.call, back],
          [CODE.localGet, thrown, CODE.throwRef, CODE.end],
          [...all, CODE.call, standard],
        ],
      ),
    ],
  })
}

/**
 * What makes `ProcessInterrupts` begin with the door: where it takes the flag down, it calls it.
 * @param body of that function in the module
 * @param flagAt address of the flag, InterruptPending
 * @param doorIndex of the import
 */
export function pausePatch(
  module: Uint8Array,
  body: Place,
  { flagAt, doorIndex }: { readonly flagAt: number; readonly doorIndex: number },
): BytePatch {
  const alignment = 2
  const flagDown = Uint8Array.of(
    CODE.i32Const,
    ...signed(flagAt),
    CODE.i32Const,
    0,
    CODE.i32Store,
    alignment,
    0,
  )
  const at = onlyPlaceOf(module, body, flagDown)
  const bytes = new Uint8Array(flagDown.length).fill(CODE.nop)
  bytes.set([CODE.call, ...unsigned(doorIndex), CODE.drop])
  return { at, bytes }
}
