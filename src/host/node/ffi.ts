/**
 * Functions of the C library by way of `node:ffi` (Node 26, experimental). Whoever calls them has
 * another way for where they are missing, and tries them before they are believed.
 */
import type { FunctionDefinitions, WrappedFunctionsFromDefinitions } from 'node:ffi'

/**
 * Functions that this process has linked.
 * @throws where there is no such module, no such symbol, or Node's permissions forbid it
 */
export function linkedFunctions<const Definitions extends FunctionDefinitions>(
  definitions: Definitions,
): WrappedFunctionsFromDefinitions<Definitions> {
  // Without a library's name the process itself is searched, which has every libc linked: no names
  // to know for glibc, musl and macOS.
  return loadFfi().dlopen(null, definitions).functions
}

/** Where a buffer of its own begins in memory. The collector does not move those. */
export function addressOf(bytes: Uint8Array | BigUint64Array): bigint {
  return loadFfi().getRawPointer(bytes)
}

/**
 * Without the warning that Node prints for an experimental module: that it may change is why
 * nobody relies on it, and a user can do nothing about it.
 */
function loadFfi(): typeof import('node:ffi') {
  const emitWarning = process.emitWarning.bind(process)
  process.emitWarning = () => {}
  try {
    return process.getBuiltinModule('node:ffi')
  } finally {
    process.emitWarning = emitWarning
  }
}
