/** Words that all threads of a process find under the same name. */
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads'

/**
 * The cell of that name, made now if there is none: 0. Threads find the one that the thread had
 * which has started them, so it is to be asked for before any is.
 */
export function sharedCell(name: string): Int32Array {
  return sharedCells(name, 1)
}

/** The same of several. */
export function sharedCells(name: string, count: number): Int32Array {
  const found = getEnvironmentData(name)
  if (found instanceof SharedArrayBuffer) return new Int32Array(found)
  const made = new SharedArrayBuffer(count * Int32Array.BYTES_PER_ELEMENT)
  setEnvironmentData(name, made)
  return new Int32Array(made)
}
