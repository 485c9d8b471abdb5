/**
 * Duplicating a descriptor, which Node has no call for, by way of `node:ffi` (Node 26,
 * experimental), and giving one back without harming anybody.
 *
 * A descriptor is a small number that the kernel gives to the next comer as soon as it is closed.
 * To close a number that is not ours any more is to cut some other client's connection, or a
 * database file. So nothing here closes a number on a guess.
 */
import { closeSync, fstatSync, openSync } from 'node:fs'
import { devNull } from 'node:os'
import { linkedFunctions } from '../ffi.ts'

/**
 * A second descriptor of what `descriptor` refers to. Undefined if the process may have no more.
 */
export type Duplicate = (descriptor: number) => number | undefined

/** Which kernel object a descriptor refers to. */
export interface Identity {
  readonly device: number
  /** 0 where sockets have no inode number (macOS): then nothing can be proven. */
  readonly inode: number
}

/** `dup(2)`, if this Node can call it and it does what it should; else undefined. */
export function loadDuplicate(): Duplicate | undefined {
  // Windows sockets are not descriptors.
  if (process.platform === 'win32') return undefined
  try {
    const { dup } = linkedFunctions({ dup: { arguments: ['int32'], return: 'int32' } })
    const duplicate = (descriptor: number): number | undefined => {
      const copy = dup(descriptor)
      return copy < 0 ? undefined : copy
    }
    return isSound(duplicate) ? duplicate : undefined
  } catch {
    // No such module, no such symbol, or forbidden by Node's permissions: the ring serves instead.
    return undefined
  }
}

/** What `descriptor` refers to now; undefined if it is not open. */
export function identify(descriptor: number): Identity | undefined {
  try {
    const { dev, ino } = fstatSync(descriptor)
    return { device: dev, inode: ino }
  } catch {
    return undefined
  }
}

/**
 * Closes `descriptor` if it provably still refers to `identity`. The caller must hold another
 * descriptor of the same object, because then the kernel cannot have given its inode number to
 * anything new, and must know that nobody who could close it is running any more.
 */
export function closeIfSame(descriptor: number, identity: Identity | undefined): void {
  if (!identity || identity.inode === 0) return
  const now = identify(descriptor)
  if (now?.inode === identity.inode && now.device === identity.device) closeSync(descriptor)
}

function isSound(duplicate: Duplicate): boolean {
  const original = openSync(devNull, 'r')
  const copy = duplicate(original)
  try {
    if (copy === undefined || copy === original) return false
    return fstatSync(copy).rdev === fstatSync(original).rdev
  } finally {
    if (copy !== undefined) closeSync(copy)
    closeSync(original)
  }
}
