/**
 * What a new cluster does not need: every tenant stands on these files, and every start of a server
 * reads them and checks their hash.
 */
import { assert } from '../base/assert.ts'
import { fromUtf8, utf8 } from '../base/bytes.ts'
import type { FileNode, TenantFiles } from '../store/tenant-files.ts'
import { WAL_SEGMENT_BYTES } from './recipe.ts'

const WAL_PAGE_BYTES = 8192
/** A checkpoint record with its header; what follows it in the segment is not needed. */
const CHECKPOINT_RECORD_BYTES_MAX = 256
/** Offset of the checkpoint's LSN in `global/pg_control` (ControlFileData.checkPoint). */
const CONTROL_CHECKPOINT_AT = 32

/**
 * Takes the comments out of `postgresql.conf`, which are 30 KB of its 31: every start of Postgres
 * reads it, which was 0.4 ms.
 */
export function dropComments(files: TenantFiles): void {
  const file = find(files, 'postgresql.conf')
  const lines = fromUtf8(readAll(files, file)).split('\n')
  const settings = utf8(`${lines.filter((line) => /^[a-z]/.test(line)).join('\n')}\n`)
  files.truncate(file, 0)
  files.write(file, settings, 0, settings.length, 0)
  files.setModified(file, 0)
}

/**
 * Keeps the one WAL segment that the shutdown checkpoint is in, cut after it: initdb leaves
 * recycled segments behind, and each would be a megabyte of template.
 */
export function keepLastSegment(files: TenantFiles): void {
  const control = readAll(files, find(files, 'global/pg_control'))
  const lsn = Number(new DataView(control.buffer).getBigUint64(CONTROL_CHECKPOINT_AT, true))
  const segmentNo = Math.floor(lsn / WAL_SEGMENT_BYTES)
  const segmentsPerFile = 2 ** 32 / WAL_SEGMENT_BYTES
  const hex = (value: number): string => value.toString(16).toUpperCase().padStart(8, '0')
  const file = Math.floor(segmentNo / segmentsPerFile)
  const keep = `00000001${hex(file)}${hex(segmentNo % segmentsPerFile)}`
  const folder = find(files, 'pg_wal')
  for (const name of files.list(folder)) {
    if (/^[0-9A-F]{24}$/.test(name) && name !== keep) files.unlink(folder, name)
  }
  const used = (lsn % WAL_SEGMENT_BYTES) + CHECKPOINT_RECORD_BYTES_MAX
  const segment = find(files, `pg_wal/${keep}`)
  files.truncate(segment, Math.ceil(used / WAL_PAGE_BYTES) * WAL_PAGE_BYTES)
  // Postgres expects segments of full size; the rest reads as zeros.
  files.truncate(segment, WAL_SEGMENT_BYTES)
}

function find(files: TenantFiles, path: string): FileNode {
  return path.split('/').reduce((folder, name) => {
    const node = files.lookup(folder, name)
    assert(node, `initdb makes ${path}`)
    return node
  }, files.root)
}

function readAll(files: TenantFiles, file: FileNode): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(file.size)
  files.read(file, bytes, 0, bytes.length, 0)
  return bytes
}
