/**
 * What a commit writes for the files that differ from the version it follows: records and chunks as
 * rows to put, and ranges of rows to delete.
 */
import { trimmedLength } from '../base/bytes.ts'
import type { InodeNo } from '../base/ids.ts'
import type { Put, StoreChanges } from './commit.ts'
import type { FileNode } from './file-node.ts'
import { encodeRecord, type InodeRecord } from './inode-record.ts'
import { CHUNKS_PER_INODE, chunkKey, type KeyRange, recordKey } from './keys.ts'

export interface FileChanges {
  /** Files whose content, record or name has changed, removed ones among them. */
  readonly changed: Iterable<FileNode>
  /** Files that the store is to forget, though they may be in the tree. */
  readonly gone: Iterable<FileNode>
  /** The first number that no file of the store has had. */
  readonly nextInode: InodeNo
}

export function changesOf({ changed, gone, nextInode }: FileChanges): StoreChanges {
  const puts: Put[] = []
  const deletions: KeyRange[] = []
  let next = nextInode
  for (const node of gone) addRemoval(node, puts, deletions)
  for (const node of changed) {
    if (node.unlinked && node.holders === 0) {
      addRemoval(node, puts, deletions)
      continue
    }
    addContent(node, puts, deletions)
    if (node.ino >= next) next = (node.ino + 1) as InodeNo
  }
  return next > nextInode ? { puts, deletions, nextInode: next } : { puts, deletions }
}

function addContent(node: FileNode, puts: Put[], deletions: KeyRange[]): void {
  const { ino } = node
  if (node.cutChunk < CHUNKS_PER_INODE && node.recorded) {
    const from = chunkKey(ino, node.cutChunk)
    deletions.push({ from, to: chunkKey(ino, CHUNKS_PER_INODE) })
  }
  if (node.recordDirty || !node.recorded) {
    puts.push({ key: recordKey(ino), data: encodeRecord(recordOf(node)) })
  }
  for (const [chunk, bytes] of node.dirty ?? []) {
    const data = bytes.subarray(0, trimmedLength(bytes))
    puts.push({ key: chunkKey(ino, chunk), data })
  }
}

function addRemoval(node: FileNode, puts: Put[], deletions: KeyRange[]): void {
  const { ino } = node
  if (node.recorded) {
    deletions.push({ from: chunkKey(ino, 0), to: chunkKey(ino, CHUNKS_PER_INODE) })
  }
  if (node.lower.length > 0 || node.template !== undefined) {
    const whiteout = {
      ...recordOf(node),
      sizeBytes: 0,
      baseBytes: 0,
      parent: 0 as const,
      name: '',
    }
    puts.push({ key: recordKey(ino), data: encodeRecord(whiteout) })
  } else if (node.recorded) {
    deletions.push({ from: recordKey(ino), to: recordKey((ino + 1) as InodeNo) })
  }
}

function recordOf(node: FileNode): InodeRecord {
  return {
    mode: node.mode,
    sizeBytes: node.size,
    baseBytes: Math.min(node.baseBytes, node.size),
    chunkBytes: node.chunkBytes,
    modifiedMs: node.modifiedMs,
    parent: node.unlinked ? 0 : node.parent,
    name: node.unlinked ? '' : node.name,
  }
}
