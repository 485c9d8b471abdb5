/** Files that outlive the machine: what POSIX asks for beyond writing them. */
import { closeSync, fdatasync, fsyncSync, mkdirSync, openSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

const FILE_MODE = 0o600

/** Writes a file whose content is on the disk when this returns; its name may not be. */
export function writeDurably(path: string, bytes: Uint8Array): void {
  const descriptor = openSync(path, 'w', FILE_MODE)
  try {
    let at = 0
    while (at < bytes.length) at += writeSync(descriptor, bytes, at)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/**
 * Makes a folder, and those above it, where they are missing; their names are on the disk then.
 * One by one: where a folder takes no other one (`/proc`), Node's own way up does not end.
 * @param path an absolute one
 */
export function makeFolderDurably(path: string, mode?: number): void {
  const missing: string[] = []
  for (let each = path; !isFolder(each); each = dirname(each)) missing.push(each)
  for (const each of missing.toReversed()) {
    makeFolder(each, mode)
    syncFolder(dirname(each))
  }
}

function makeFolder(path: string, mode?: number): void {
  try {
    mkdirSync(path, mode)
  } catch (error) {
    // Somebody else may have been faster.
    if (!isFolder(path)) throw error
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory()
  } catch {
    // Whatever is in the way is told when it is made.
    return false
  }
}

/** The promise is kept when all that was written to a file is on the disk. */
export function syncData(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fdatasync(descriptor, (error) => (error ? reject(error) : resolve()))
  })
}

/** A new name, or a new place of one, is durable when its folder is. */
export function syncFolder(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
