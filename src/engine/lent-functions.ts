/**
 * Functions of ours that Postgres calls. Lending one adds an entry to the module's function table,
 * which memory images refer to: each instance must lend the same ones in the same order.
 */
import type { EmscriptenModule } from './emscripten.ts'

/** What a client can send another one of its tenant. */
export type Signal = 'cancel' | 'terminate'

/** Entries of the function table. */
export type SignalFunctions = Readonly<Record<Signal, number>>

/**
 * @param onSignal stands for Postgres's functions that send a signal, see `backend-signals.ts`
 * @returns the entries that call it
 */
export function lendFunctions(
  module: EmscriptenModule,
  onSignal: (signal: Signal, callAt: number) => number,
): SignalFunctions {
  // Where Postgres wants a shell: there is none.
  const refuse = (): number => 1
  const refuseStream = (): number => 0
  module._pgl_set_system_fn(module.addFunction(refuse, 'pi'))
  module._pgl_set_popen_fn(module.addFunction(refuseStream, 'ppp'))
  module._pgl_set_pclose_fn(module.addFunction((stream = 0) => stream, 'pi'))
  const lend = (signal: Signal): number =>
    module.addFunction((callAt = 0) => onSignal(signal, callAt), 'pp')
  return { cancel: lend('cancel'), terminate: lend('terminate') }
}
