import type { FileNode, TenantFiles } from '../../src/store/tenant-files.ts'

/** A file in the root, of `length` times `byte`. */
export function newFile(files: TenantFiles, name: string, length = 0, byte = 0): FileNode {
  const node = files.create(files.root, name, 0o100600)
  if (length > 0) files.write(node, new Uint8Array(length).fill(byte), 0, length, 0)
  return node
}
