/**
 * Closes Emscripten's own file system, which is everything outside PGDATA, once an instance is
 * made.
 *
 * A tenant is superuser of its Postgres, so its SQL can name any path: COPY TO, lo_export, LOAD.
 * What lies outside PGDATA belongs to the slot, outlives the tenant in it, and is in part shared
 * with all slots of the process. So nothing there can be made, changed or removed, with one
 * exception: the shared memory files that Postgres itself makes in /dev/shm, a few and small ones,
 * which are removed when the slot is booted again.
 */
import type { EmscriptenFs, EmscriptenNode, EmscriptenStream } from './emscripten.ts'
import { operationsOnceFilled } from './file-placer.ts'

/** wasi-libc: read-only file system, no space left on device. */
const EROFS = 69
const ENOSPC = 51
const SHARED_MEMORY_FOLDER = '/dev/shm'
/** As dsm_impl.c names them. */
const SHARED_MEMORY_NAME = /^PostgreSQL\.\d+$/
/** An idle backend has two, of 4 KiB and 1 MiB. */
const SHARED_MEMORY_FILES_MAX = 8
const SHARED_MEMORY_BYTES_MAX = 8_388_608

interface FolderOperations {
  mknod(parent: EmscriptenNode, name: string, mode: number, device: number): EmscriptenNode
  rename(node: EmscriptenNode, folder: EmscriptenNode, name: string): void
  unlink(parent: EmscriptenNode, name: string): void
  rmdir(parent: EmscriptenNode, name: string): void
  symlink(parent: EmscriptenNode, name: string, target: string): EmscriptenNode
  setattr(node: EmscriptenNode, attributes: Attributes): void
}

interface FileOperations {
  setattr(node: EmscriptenNode, attributes: Attributes): void
}

interface StreamOperations {
  write(
    stream: EmscriptenStream,
    buffer: ArrayBufferView,
    offset: number,
    length: number,
    position: number,
  ): number
}

interface Attributes {
  readonly size?: number
}

/**
 * Seals what is there now. `knownFile` is any regular file outside PGDATA: all of them share their
 * operations, once they are filled, and those are what is replaced.
 */
export function sealFiles(fs: EmscriptenFs, knownFile: string): void {
  const refuse = (errno: number): never => {
    throw new fs.ErrnoError(errno)
  }
  const file = fs.lookupPath(knownFile).node
  const shared = fs.lookupPath(SHARED_MEMORY_FOLDER).node
  const folders = file.parent.node_ops as FolderOperations
  const files = operationsOnceFilled(file.node_ops) as FileOperations
  const streams = operationsOnceFilled(file.stream_ops) as StreamOperations
  const original = {
    mknod: folders.mknod.bind(folders),
    unlink: folders.unlink.bind(folders),
    resize: files.setattr.bind(files),
    write: streams.write.bind(streams),
  }
  const checkSize = (node: EmscriptenNode, bytes: number): void => {
    if (node.parent !== shared) refuse(EROFS)
    if (bytes > SHARED_MEMORY_BYTES_MAX) refuse(ENOSPC)
  }
  Object.assign(folders, {
    mknod: (parent, name, mode, device) => {
      if (parent !== shared || !SHARED_MEMORY_NAME.test(name)) refuse(EROFS)
      const count = fs.readdir(SHARED_MEMORY_FOLDER).length
      if (count >= SHARED_MEMORY_FILES_MAX) refuse(ENOSPC)
      return original.mknod(parent, name, mode, device)
    },
    unlink: (parent, name) => {
      if (parent !== shared) refuse(EROFS)
      original.unlink(parent, name)
    },
    rename: () => refuse(EROFS),
    rmdir: () => refuse(EROFS),
    symlink: () => refuse(EROFS),
    setattr: () => refuse(EROFS),
  } satisfies FolderOperations)
  files.setattr = (node, attributes) => {
    checkSize(node, attributes.size ?? 0)
    original.resize(node, attributes)
  }
  streams.write = (stream, buffer, offset, length, position) => {
    checkSize(stream.node, position + length)
    return original.write(stream, buffer, offset, length, position)
  }
}
