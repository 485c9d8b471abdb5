/** What things take: bytes of a folder on disk, bytes of a process tree in memory. */
import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** `stat` counts allocation in these, whatever the file system's block is. */
const STAT_BLOCK_BYTES = 512
const KIB = 1024

/** Bytes that the file system has allocated below `folder`; holes do not count, slack does. */
export function allocatedBytes(folder: string): number {
  let bytes = 0
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const facts = lstatSync(join(folder, name))
    if (facts.isFile()) bytes += facts.blocks * STAT_BLOCK_BYTES
  }
  return bytes
}

/**
 * Proportional set size of a process and all its descendants: a page shared by n processes counts
 * as one n-th for each, so a tree counts it once. Linux only: throws elsewhere.
 */
export function treeMemoryBytes(pid: number): number {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    const child = Number(name)
    const parent = Number.isInteger(child) ? parentOf(child) : undefined
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), child])
  }
  const sum = (root: number): number =>
    (children.get(root) ?? []).reduce((bytes, child) => bytes + sum(child), memoryBytes(root))
  return sum(pid)
}

/** Resident set size of one process. Linux only: throws elsewhere. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * KIB
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold anything; the fields begin behind its end.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  } catch {
    // It has ended since the folder was listed.
    return undefined
  }
}

function memoryBytes(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1] ?? 0) * KIB
}
