/**
 * Temporary files of a backend, for a copy of it over the files as they are committed: a sort that
 * did not fit memory, a cursor over it. They are neither in the store nor wanted in the copy, which
 * rolls back whatever has them open; but they are to be closed and removed then. So empty ones
 * stand in for them, under their names.
 */
import { assert } from '../base/assert.ts'
import type { InodeNo } from '../base/ids.ts'
import type { FileNode, TenantFiles } from '../store/tenant-files.ts'
import type { SlotImage } from './slot-image.ts'

type Tree = Pick<TenantFiles, 'fileOf' | 'lookup' | 'create' | 'root'>

/** @param from the files that the image was taken over. @param to those that it is to go on over */
export function withStandIns(image: SlotImage, from: Tree, to: Tree): SlotImage {
  const descriptors = image.descriptors.map((descriptor) => {
    const ino = descriptor.ino as InodeNo
    if (descriptor.device !== undefined || to.fileOf(ino)) return descriptor
    const file = from.fileOf(ino)
    return file?.ephemeral === true
      ? { ...descriptor, ino: standIn(file, from, to).ino }
      : descriptor
  })
  return { ...image, descriptors }
}

/** Folders on the way to it are made, too. */
function standIn(file: FileNode, from: Tree, to: Tree): FileNode {
  if (file.parent === 0) return to.root
  const parent = from.fileOf(file.parent)
  assert(parent, 'a file is in a folder')
  const folder = standIn(parent, from, to)
  return to.lookup(folder, file.name) ?? to.create(folder, file.name, file.mode)
}
