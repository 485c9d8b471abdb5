/**
 * Functions of ours that Postgres calls. Lending one adds an entry to the module's function table,
 * which memory images refer to: each instance must lend the same ones in the same order.
 */
import { LOCKING } from './advisory-locks.ts'
import { DATABASE_FUNCTIONS } from './database-functions.ts'
import type { EmscriptenModule, WasmFunction } from './emscripten.ts'
import type { Pausing, UtilityWays } from './pausing.ts'
import type { ExportedFunction } from './wal-tail.ts'

/** What is asked about utility statements where they can pause, of each of them. */
export interface UtilityRules {
  /** Whether it is to be told to {@link LentFunctions.onUtility}. */
  isOurs(plan: number): boolean
  /** Before one that is not. @returns whether {@link stepBack} is to be called at its end */
  stepAside(plan: number): boolean
  stepBack(): void
}

/** What a client can send another one of its tenant. */
export type Signal = 'cancel' | 'terminate'

/** What is called in a scan of `pg_database`, in the place of Postgres's own functions. */
export type ScanCall = 'begin' | 'end' | 'rescan' | 'next' | 'build'

/** Entries of the function table. */
export type ScanFunctions = Readonly<Record<ScanCall, number>>

/** Entries of the function table. */
export type SignalFunctions = Readonly<Record<Signal, number>>

export class LentFunctions {
  /** Stands for Postgres's functions that send a signal; see `backend-signals.ts`. */
  onSignal: ((signal: Signal, callAt: number) => number) | undefined
  /**
   * Told of each utility statement: its plan, its context, and how to go on as Postgres would; see
   * `database-statements.ts`.
   */
  onUtility: ((plan: number, context: number, process: () => void) => void) | undefined
  /** Whether a plan's utility statement is to be told, or else what becomes of it. */
  utilities: UtilityRules | undefined
  /** See `database-scan.ts`. */
  onScan: ((call: ScanCall, values: readonly number[]) => number) | undefined
  /** Entries that call {@link onScan}. */
  readonly scans: ScanFunctions
  /** Stands for functions about databases, by their index; see `database-functions.ts`. */
  onDatabaseFunction: ((index: number, callAt: number) => number) | undefined
  /** Entries that call {@link onDatabaseFunction}. */
  readonly databaseFunctions: readonly number[]
  /** Stands for functions that take advisory locks, by their index; see `advisory-locks.ts`. */
  onLocking: ((index: number, callAt: number) => number) | undefined
  /** Entries that call {@link onLocking}. */
  readonly locking: readonly number[]
  /** Stands for what `pg_stat_activity` is made of; see `session-activity.ts`. */
  onActivity: ((callAt: number) => number) | undefined
  /** That which calls it. */
  readonly activity: number
  /** Entries that call {@link onSignal}. */
  readonly signals: SignalFunctions
  /** That which calls {@link onUtility}. */
  readonly utility: number

  /**
   * @param standardUtility what Postgres itself does with a utility statement
   * @param pausing of the instance, if its statements can pause
   */
  constructor(
    module: EmscriptenModule,
    standardUtility: ExportedFunction,
    pausing?: Pick<Pausing, 'utilityDoor'>,
  ) {
    // Where Postgres wants a shell: there is none.
    const refuse = (): number => 1
    const refuseStream = (): number => 0
    module._pgl_set_system_fn(module.addFunction(refuse, 'pi'))
    module._pgl_set_popen_fn(module.addFunction(refuseStream, 'ppp'))
    module._pgl_set_pclose_fn(module.addFunction((stream = 0) => stream, 'pi'))
    const lend = (signal: Signal): number =>
      module.addFunction((callAt = 0) => this.onSignal?.(signal, callAt) ?? 0, 'pp')
    this.signals = { cancel: lend('cancel'), terminate: lend('terminate') }
    const lendScan = (call: ScanCall, signature: string): number =>
      module.addFunction((...values) => this.onScan?.(call, values) ?? 0, signature)
    this.scans = {
      begin: lendScan('begin', 'ppppppp'),
      end: lendScan('end', 'vp'),
      rescan: lendScan('rescan', 'vpppppp'),
      next: lendScan('next', 'pppp'),
      build: lendScan('build', 'dppppppppppp'),
    }
    this.databaseFunctions = DATABASE_FUNCTIONS.map((_, index) =>
      module.addFunction((callAt = 0) => this.onDatabaseFunction?.(index, callAt) ?? 0, 'pp'),
    )
    this.locking = LOCKING.map((_, index) =>
      module.addFunction((callAt = 0) => this.onLocking?.(index, callAt) ?? 0, 'pp'),
    )
    this.activity = module.addFunction((callAt = 0) => this.onActivity?.(callAt) ?? 0, 'pp')
    const ours = (...values: number[]): number => {
      const [plan = 0, , , context = 0] = values
      if (this.onUtility) this.onUtility(plan, context, () => void standardUtility(...values))
      else standardUtility(...values)
      return 0
    }
    const ways: UtilityWays = {
      isOurs: (plan) => (this.utilities?.isOurs(plan) ? 1 : 0),
      ours,
      aside: (plan) => (this.utilities?.stepAside(plan) ? 1 : 0),
      back: () => this.utilities?.stepBack(),
      standard: standardUtility,
    }
    const door = pausing?.utilityDoor(ways) ?? ours
    this.utility = module.addFunction(door as WasmFunction, 'vpppppppp')
  }
}
