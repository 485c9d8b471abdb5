/**
 * Puts files that are in memory already into Emscripten's own file system, without a copy and
 * without its ways of opening, growing, writing and closing, which take 40 ms for the 800 files of
 * an instance. The nodes are what its own functions would have made, but that a file is filled only
 * when somebody opens it: most of them nobody ever does. It is their operations that fill them, two
 * tables for all; an accessor of each node's own would make each a dictionary, of 1 KB.
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

interface NodeOperations {
  setattr(node: FileNode, attributes: object): void
}

/** Those of a file that is not filled yet, beside those that it has from then on. */
interface Operations {
  readonly filled: object
}

interface UnfilledOperations {
  readonly nodeOperations: Operations & NodeOperations
  readonly streamOperations: Operations & { open(stream: { readonly node: FileNode }): void }
}

export class FilePlacer {
  readonly #fs: EmscriptenFs
  readonly #fill: SparseBytes['fill']
  readonly #folders = new Map<string, FolderNode>()
  #unfilled: UnfilledOperations | undefined

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
    node.contents = bytes
    node.usedBytes = bytes.length
    const { nodeOperations, streamOperations } = (this.#unfilled ??= this.#operationsOf(node))
    node.node_ops = nodeOperations
    node.stream_ops = streamOperations
  }

  /** All files of an instance have the same. */
  #operationsOf(node: FileNode): UnfilledOperations {
    const ofNode = operationsOnceFilled(node.node_ops) as NodeOperations
    const ofStream = operationsOnceFilled(node.stream_ops)
    const fillFile = (file: FileNode): void => {
      this.#fill(file.contents)
      file.node_ops = ofNode
      file.stream_ops = ofStream
    }
    return {
      nodeOperations: before(ofNode, {
        filled: ofNode,
        // Of a path: nobody need have opened it.
        setattr: (file: FileNode, attributes: object) => {
          fillFile(file)
          ofNode.setattr(file, attributes)
        },
      }),
      streamOperations: before(ofStream, {
        filled: ofStream,
        open: ({ node: file }: { readonly node: FileNode }) => fillFile(file),
      }),
    }
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

/** The table that all files of an instance share, of which some may not have been filled yet. */
export function operationsOnceFilled(operations: object): object {
  return (operations as Partial<Operations>).filled ?? operations
}

/** What the first table has not is looked up in the other one, which is sealed later on. */
function before<Table extends object>(other: object, table: Table): Table {
  return Object.setPrototypeOf(table, other) as Table
}
