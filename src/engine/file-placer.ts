/**
 * Puts files that are in memory already into Emscripten's own file system, without a copy and
 * without its ways of opening, growing, writing and closing, which take 40 ms for the 800 files of
 * an instance. The nodes are what its own functions would have made, but that a file is filled only
 * when somebody asks for its contents: most of them nobody ever opens.
 */
import type { SparseBytes } from '../base/sparse-bytes.ts'
import type { EmscriptenFs, EmscriptenNode } from './emscripten.ts'

interface FolderNode extends EmscriptenNode {
  readonly contents: Readonly<Record<string, FileNode>>
}

interface FileNode extends EmscriptenNode {
  contents: Uint8Array
  usedBytes: number
}

interface FolderOperations {
  mknod(parent: EmscriptenNode, name: string, mode: number, device: number): FileNode
}

export class FilePlacer {
  readonly #fs: EmscriptenFs
  readonly #fill: SparseBytes['fill']
  readonly #folders = new Map<string, FolderNode>()

  /** @param fill of what the files are made of */
  constructor(fs: EmscriptenFs, fill: SparseBytes['fill']) {
    this.#fs = fs
    this.#fill = fill
  }

  /** Makes the file `path`, or gives it another content. Its folder is made if it is missing. */
  place(path: string, bytes: Uint8Array, mode: number): void {
    const slash = path.lastIndexOf('/')
    const folder = this.#folder(path.slice(0, slash))
    const name = path.slice(slash + 1)
    const operations = folder.node_ops as FolderOperations
    const node = folder.contents[name] ?? operations.mknod(folder, name, mode, 0)
    node.mode = mode
    const fill = this.#fill
    Object.defineProperty(node, 'contents', {
      configurable: true,
      enumerable: true,
      get: () => {
        fill(bytes)
        return (node.contents = bytes)
      },
      set: (value: Uint8Array) => {
        Object.defineProperty(node, 'contents', { value, writable: true })
      },
    })
    node.usedBytes = bytes.length
  }

  #folder(path: string): FolderNode {
    const known = this.#folders.get(path)
    if (known) return known
    this.#fs.mkdirTree(path)
    const folder = this.#fs.lookupPath(path).node as FolderNode
    this.#folders.set(path, folder)
    return folder
  }
}
