/**
 * Facts about the machine that a number is worth nothing without: processor, cores, Node, commit,
 * and how long the disk takes to make 8 KiB durable (no durable insert can be faster than that).
 * Never a host name, a user name or a path: results are published.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem, type } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { median } from './statistics.ts'

const FDATASYNC_WARM_UP = 5
const FDATASYNC_SAMPLES = 51
const BLOCK_BYTES = 8192

/** The machine line, as data. */
export interface MachineFacts {
  readonly cpu: string
  readonly coreCount: number
  readonly memoryBytes: number
  readonly system: string
  readonly node: string
  /** Short commit hash; `+` behind it when tracked files differ from it; `unknown` outside git. */
  readonly commit: string
  /** Median of overwriting 8 KiB of an existing file and `fdatasync`, in the folder of the data. */
  readonly fdatasyncMs: number
}

/**
 * Gathers the facts; `dataFolder` is where the databases will be, `repository` where the code is.
 */
export function machineFacts(dataFolder: string, repository: string): MachineFacts {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    coreCount: availableParallelism(),
    memoryBytes: totalmem(),
    system: `${type()} ${release()}`,
    node: process.version,
    commit: describeCommit((...args) => git(repository, args)),
    fdatasyncMs: measureFdatasyncMs(dataFolder),
  }
}

/** The commit as printed; `run` answers a git command with its output, or undefined if it fails. */
export function describeCommit(run: (...args: string[]) => string | undefined): string {
  const hash = run('rev-parse', '--short=10', 'HEAD')
  if (hash === undefined) return 'unknown'
  return run('status', '--porcelain', '--untracked-files=no') === '' ? hash : `${hash}+`
}

/** One line for people. */
export function machineLine(facts: MachineFacts): string {
  const memory = `${(facts.memoryBytes / 2 ** 30).toFixed(0)} GiB`
  const disk = `fdatasync ${facts.fdatasyncMs.toFixed(3)} ms`
  return [
    `${facts.coreCount} x ${facts.cpu}`,
    memory,
    facts.system,
    `node ${facts.node}`,
    `commit ${facts.commit}`,
    disk,
  ].join(', ')
}

/**
 * Overwrites in place, as a database does with its log: appending would also sync the file's size.
 */
export function measureFdatasyncMs(folder: string): number {
  const path = join(folder, `fdatasync-${process.pid}`)
  const block = Buffer.alloc(BLOCK_BYTES, 1)
  const file = openSync(path, 'w')
  try {
    const samplesMs: number[] = []
    for (let round = -FDATASYNC_WARM_UP; round < FDATASYNC_SAMPLES; round++) {
      const startMs = performance.now()
      writeSync(file, block, 0, block.length, 0)
      fdatasyncSync(file)
      if (round >= 0) samplesMs.push(performance.now() - startMs)
    }
    return median(samplesMs)
  } finally {
    closeSync(file)
    rmSync(path)
  }
}

function git(repository: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync('git', [...args], {
      cwd: repository,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    // Not a checkout, or no git: the packed product may be benchmarked too.
    return undefined
  }
}
