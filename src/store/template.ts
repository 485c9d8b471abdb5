/**
 * The read-only cluster that every tenant is a difference from: a tree of files made once by
 * initdb, shared by all tenants of a process and, its bytes being allowed to lie in a
 * SharedArrayBuffer, by all threads. Files of equal content share their bytes; zeros at the end of
 * a file are not kept.
 *
 * The id is computed from the content, so a store can name the template it was written against, and
 * two builds that happen to make the same tree are the same template. Nothing here may ever change
 * after `parse` or `fromFiles`: tenants hold views into these bytes.
 */
import { assert } from '../base/assert.ts'
import { trimmedLength } from '../base/bytes.ts'
import type { InodeNo } from '../base/ids.ts'
import { isFilled, type SparseBytes } from '../base/sparse-bytes.ts'
import { FIRST_TENANT_INODE } from './keys.ts'
import { DIRECTORY_MODE, ROOT_INODE, WAL_DIRECTORY } from './file-node.ts'
import { RELCACHE_FILE } from './file-tree.ts'
import type { TenantFiles } from './tenant-files.ts'
import { type ParsedTemplate, parseTemplate, serializeTemplate } from './template-format.ts'

/**
 * One file or directory of a template. Inode 1 is the root; a parent's number is below its child's.
 */
export interface TemplateNode {
  readonly inode: InodeNo
  /** 0 for the root. */
  readonly parent: InodeNo | 0
  readonly name: string
  readonly mode: number
  readonly sizeBytes: number
  readonly modifiedMs: number
  /** Length of the content without its trailing zeros. */
  readonly dataBytes: number
  /** The content between two places below `dataBytes`, as a view that stays as it is. */
  readonly content: (start: number, end: number) => Uint8Array
  /** Of a directory: names to inodes. */
  readonly children: ReadonlyMap<string, InodeNo> | undefined
}

/** A node of a tree that is to become a template. */
export type NewNode = Omit<TemplateNode, 'dataBytes' | 'content'> & {
  /** Content without its trailing zeros. */
  readonly data: Uint8Array
}

export interface TemplateParseOptions {
  /** True when these very bytes were checked before in this process; skips the checksum (2 ms). */
  readonly checked?: boolean
  /** Of what the bytes are part of, if they are not all there. Only with `checked`. */
  readonly fill?: SparseBytes['fill']
}

export class Template {
  /** 32 hex digits, from the content. */
  readonly id: string
  readonly #nodes: readonly TemplateNode[]
  readonly #serialized: Uint8Array
  readonly #fill: SparseBytes['fill']
  readonly #databaseBytes: number

  private constructor(
    { id, nodes }: ParsedTemplate,
    serialized: Uint8Array,
    fill: SparseBytes['fill'] = isFilled,
  ) {
    this.id = id
    this.#nodes = nodes
    this.#serialized = serialized
    this.#fill = fill
    let bytes = 0
    for (const node of nodes) if (!this.isWal(node)) bytes += node.sizeBytes
    this.#databaseBytes = bytes
  }

  /**
   * One of which nothing is here but its name, for whoever has stores and never opens their files.
   */
  static named(id: string): Template {
    return new Template({ id, nodes: [] }, new Uint8Array(0))
  }

  /** A root directory and nothing else: what initdb starts from. */
  static empty(): Template {
    return Template.#of([
      {
        inode: ROOT_INODE,
        parent: 0,
        name: '',
        mode: DIRECTORY_MODE | 0o700,
        sizeBytes: 0,
        modifiedMs: 0,
        data: new Uint8Array(0),
        children: new Map(),
      },
    ])
  }

  /** Freezes the present tree of `files`, without what is ephemeral but for the relcache files. */
  static fromFiles(files: TenantFiles): Template {
    const nodes: NewNode[] = []
    const walk = (node: TenantFiles['root'], parent: InodeNo | 0, name: string): InodeNo => {
      const inode = (nodes.length + 1) as InodeNo
      const children = new Map<string, InodeNo>()
      const data = node.isDirectory ? new Uint8Array(0) : new Uint8Array(node.size)
      if (!node.isDirectory) files.read(node, data, 0, node.size, 0)
      nodes.push({
        inode,
        parent,
        name,
        mode: node.mode,
        sizeBytes: node.isDirectory ? 0 : node.size,
        modifiedMs: node.modifiedMs,
        data: data.slice(0, trimmedLength(data)),
        children: node.isDirectory ? children : undefined,
      })
      if (node.isDirectory) {
        for (const childName of files.list(node).toSorted()) {
          const child = files.lookup(node, childName)
          assert(child !== undefined, 'a listed name can be looked up')
          const kept = !child.ephemeral || childName === RELCACHE_FILE
          if (kept) children.set(childName, walk(child, inode, childName))
        }
      }
      return inode
    }
    walk(files.root, 0, '')
    return Template.#of(nodes)
  }

  /**
   * Reads what `serialize` wrote; the template keeps views into `bytes`. Throws
   * ENGINE_ASSETS_INVALID when they are not a whole template of a known version.
   */
  static parse(bytes: Uint8Array, options: TemplateParseOptions = {}): Template {
    const { checked = false, fill = isFilled } = options
    return new Template(parseTemplate(bytes, checked, fill), bytes, fill)
  }

  static #of(nodes: readonly NewNode[]): Template {
    assert(nodes.length < FIRST_TENANT_INODE, 'a template leaves numbers for its tenants')
    return Template.parse(serializeTemplate(nodes), { checked: true })
  }

  serialize(): Uint8Array {
    this.#fill(this.#serialized)
    return this.#serialized
  }

  /** Sizes of all files that are not WAL. */
  get databaseBytes(): number {
    return this.#databaseBytes
  }

  get fileCount(): number {
    return this.#nodes.length
  }

  node(inode: InodeNo): TemplateNode | undefined {
    return this.#nodes[inode - 1]
  }

  /** All nodes, parents before children. */
  nodes(): readonly TemplateNode[] {
    return this.#nodes
  }

  /** A file of Postgres's write-ahead log. */
  isWal(node: TemplateNode): boolean {
    if (node.children !== undefined || node.parent === 0) return false
    const directory = this.node(node.parent)
    return directory?.parent === ROOT_INODE && directory.name === WAL_DIRECTORY
  }
}
