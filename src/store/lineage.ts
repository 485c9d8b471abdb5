/**
 * Who has written which versions of main, as far back as that is kept, and what each writer from
 * afar has brought last.
 *
 * A number of a version does not say what was in it: after a store was taken back to a backup, the
 * numbers that were given since are given again, to other contents. The name that each owner draws
 * (`drawOwner`) does say it. So whoever has a copy of some version, and asks only for what has
 * changed since, shows its stamp; if that owner is not known to have had that version, the copy is
 * of another past, and worth nothing.
 *
 * A writer from afar may not hear whether its commit came through, and bring it again. Commits that
 * say who brings them, and under what number, are remembered in the same transaction: that makes
 * the second time harmless.
 */
import { assert } from '../base/assert.ts'
import type { Version } from '../base/ids.ts'
import type { Medium } from '../medium/medium.ts'
import { corrupt } from './varint.ts'

/** Owners that are remembered: a tenant gets a new one with each wake in which it is written to. */
const OWNERS_MAX = 64
/** Writers that are remembered; who comes later than so many others is told that it is fenced. */
const WRITERS_MAX = 64

/** Who a commit comes from, and as which one of its commits, counted from 1 without gaps. */
export interface Origin {
  readonly writer: string
  readonly sequence: number
}

/** An owner, and the first version that it made, or was about to make. */
export interface OwnedFrom {
  readonly epoch: number
  readonly owner: string
  readonly first: Version
}

/** What a writer has brought last, and the version that came of it. */
export interface WrittenBy extends Origin {
  readonly version: Version
}

const OWNERS_KEY = 'owners'
const WRITERS_KEY = 'writers'
const WRITER_NAME = /^[\w-]{1,64}$/

/** Oldest first. Empty in stores that nobody has written to since there was such a list. */
export function readOwners(medium: Medium): readonly OwnedFrom[] {
  return readLines(medium, OWNERS_KEY).map(([epoch = '', owner = '', first = '']) => ({
    epoch: number(epoch),
    owner,
    first: number(first) as Version,
  }))
}

/** Call inside the transaction in which the owner is drawn. */
export function noteOwner(medium: Medium, { epoch, owner, first }: OwnedFrom): void {
  const before = readLines(medium, OWNERS_KEY)
  writeLines(medium, OWNERS_KEY, [...before, [epoch, owner, first]].slice(-OWNERS_MAX))
}

/** Undefined for a writer that has brought nothing, or longer ago than is remembered. */
export function lastOf(medium: Medium, writer: string): WrittenBy | undefined {
  const found = readLines(medium, WRITERS_KEY).find(([name]) => name === writer)
  if (!found) return undefined
  const [, sequence = '', version = ''] = found
  return { writer, sequence: number(sequence), version: number(version) as Version }
}

/** Whether somebody may have brought something and not be known any more. */
export function forgetsWriters(medium: Medium): boolean {
  return readLines(medium, WRITERS_KEY).length >= WRITERS_MAX
}

/** Call inside the transaction of the commit. */
export function noteWriter(medium: Medium, { writer, sequence }: Origin, version: Version): void {
  assert(WRITER_NAME.test(writer), 'a writer has a short name')
  const others = readLines(medium, WRITERS_KEY).filter(([name]) => name !== writer)
  writeLines(medium, WRITERS_KEY, [...others, [writer, sequence, version]].slice(-WRITERS_MAX))
}

/** The owner that had `version`, for a stamp of it. The last one, if two had it: see below. */
export function ownerOf(owners: readonly OwnedFrom[], version: Version): OwnedFrom | undefined {
  return owners.findLast(({ first }) => first <= version)
}

/**
 * Whether this owner had `version`: it made it, or found it there when it wrote first. (Then two
 * owners have had it, with the same content.)
 */
export function hasHad(
  owners: readonly OwnedFrom[],
  { epoch, owner }: Pick<OwnedFrom, 'epoch' | 'owner'>,
  version: Version,
): boolean {
  const index = owners.findIndex((one) => one.epoch === epoch && one.owner === owner)
  const found = owners[index]
  if (!found || version < found.first - 1) return false
  const next = owners[index + 1]
  return next === undefined || version < next.first
}

function readLines(medium: Medium, key: string): readonly (readonly string[])[] {
  const value = medium.get('SELECT v FROM meta WHERE k = ?1', key)?.[0]
  if (typeof value !== 'string' || value === '') return []
  return value.split('\n').map((line) => line.split(' '))
}

function writeLines(
  medium: Medium,
  key: string,
  lines: readonly (readonly (string | number)[])[],
): void {
  medium.run(
    'INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = excluded.v',
    key,
    lines.map((line) => line.join(' ')).join('\n'),
  )
}

function number(text: string): number {
  const value = Number(text)
  if (text === '' || !Number.isSafeInteger(value)) throw corrupt(`"${text}" is no number`)
  return value
}
