/** Files that outlive the machine: what POSIX asks for beyond writing them. */
import { closeSync, fdatasync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs'
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
 * @param path an absolute one
 */
export function makeFolderDurably(path: string, mode?: number): void {
  const first = mkdirSync(path, { recursive: true, mode })
  if (first === undefined) return
  for (let made = path; made.length >= first.length; made = dirname(made)) {
    syncFolder(dirname(made))
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
