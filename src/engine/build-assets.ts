/**
 * Makes the assets of an engine from stock PGlite, with no recompiled Postgres:
 *
 *   1. the template: initdb with small WAL segments, VACUUM FREEZE, clean shutdown, spare WAL gone
 *   2. the overlay: side modules whose memory import is declared like the slot's, extension files
 *   3. the pre-main image: one instance, side modules loaded, main not called
 *
 * The result is reproducible as far as clocks and randomness are: whoever calls this freezes both
 * (host/node/engine-build), because initdb writes them into the cluster, and a store is a
 * difference from exactly one template.
 */
import { PGlite } from '@electric-sql/pglite'
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { Template } from '../store/template.ts'
import { TenantFiles } from '../store/tenant-files.ts'
import type { EmscriptenFactory } from './emscripten.ts'
import { makeCommitsDurable } from './durable-commit.ts'
import { type EngineAssets, fingerprintOf, type StockFiles } from './engine-assets.ts'
import { type FilePack, parsePack, serializePack } from './file-pack.ts'
import { BASE_LIBRARIES, Instance, LIBRARY_FOLDER, type LibraryExports } from './instance.ts'
import { captureMemory } from './memory-image.ts'
import { WAL_SEGMENT_BYTES } from './recipe.ts'
import { PGDATA } from './slot-files.ts'
import { readTar } from './tar.ts'
import { withMemoryLimits } from './wasm-module.ts'
import { slotMemory } from './wasm-engine.ts'

const MIB = 1024 * 1024
const WAL_PAGE_BYTES = 8192
/** A checkpoint record with its header; what follows it in the segment is not needed. */
const CHECKPOINT_RECORD_BYTES_MAX = 256
/** Offset of the checkpoint's LSN in `global/pg_control` (ControlFileData.checkPoint). */
const CONTROL_CHECKPOINT_AT = 32

export interface BuildOptions {
  readonly stock: StockFiles
  readonly factory: EmscriptenFactory
  /** Compiles wasm; the module is used in this process only. */
  readonly compile: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module
  readonly clock: Clock
  /** Told the name of each step as it begins. */
  readonly progress: (step: string) => void
}

export async function buildAssets(options: BuildOptions): Promise<EngineAssets> {
  const { stock, progress } = options
  progress('initdb')
  const template = await buildTemplate(options)
  progress('side modules')
  const libraries = await stockLibraries()
  const overlay = buildOverlay(stock, libraries)
  const libraryExports = exportsOf(libraries, options.compile)
  progress('pre-main image')
  const fingerprint = await fingerprintOf(stock)
  const preMain = await buildPreMain(options, { template, overlay, libraryExports })
  return { fingerprint, template, overlay, libraryExports, preMain }
}

type PgliteFs = {
  readdir(path: string): string[]
  stat(path: string): { readonly mode: number }
  isDir(mode: number): boolean
  readFile(path: string): Uint8Array
}

async function buildTemplate({ clock }: BuildOptions): Promise<Template> {
  const pglite = await PGlite.create({
    initDbStartParams: [`--wal-segsize=${WAL_SEGMENT_BYTES / MIB}`],
    startParams: [...PGlite.defaultStartParams, '-c', 'wal_recycle=off', '-c', 'min_wal_size=2MB'],
  })
  await pglite.exec('VACUUM FREEZE ANALYZE')
  await pglite.exec('CHECKPOINT')
  const fs = pglite.Module.FS as PgliteFs
  const system = pglite.fs
  assert(system, 'PGlite has a file system')
  // The files must be readable after the shutdown, which is what makes the cluster clean.
  system.closeFs = async () => {}
  await pglite.close()
  const files = TenantFiles.inMemory({ template: Template.empty(), clock })
  copyTree(fs, PGDATA, files, files.root)
  keepLastSegment(files)
  return Template.fromFiles(files)
}

function copyTree(
  fs: PgliteFs,
  path: string,
  files: TenantFiles,
  folder: TenantFiles['root'],
): void {
  for (const name of fs.readdir(path).toSorted()) {
    if (name === '.' || name === '..') continue
    const from = `${path}/${name}`
    const { mode } = fs.stat(from)
    const node = files.create(folder, name, mode)
    if (fs.isDir(mode)) {
      copyTree(fs, from, files, node)
    } else {
      const bytes = fs.readFile(from)
      files.write(node, bytes, 0, bytes.length, 0)
    }
    files.setModified(node, 0)
  }
}

/**
 * Keeps the one WAL segment that the shutdown checkpoint is in, cut after it: initdb leaves
 * recycled segments behind, and each would be a megabyte of template.
 */
function keepLastSegment(files: TenantFiles): void {
  const at = (path: string): TenantFiles['root'] =>
    path.split('/').reduce((folder, name) => {
      const node = files.lookup(folder, name)
      assert(node, `initdb makes ${path}`)
      return node
    }, files.root)
  const control = new Uint8Array(CONTROL_CHECKPOINT_AT + 8)
  files.read(at('global/pg_control'), control, 0, control.length, 0)
  const lsn = Number(new DataView(control.buffer).getBigUint64(CONTROL_CHECKPOINT_AT, true))
  const segmentNo = Math.floor(lsn / WAL_SEGMENT_BYTES)
  const segmentsPerFile = 2 ** 32 / WAL_SEGMENT_BYTES
  const hex = (value: number): string => value.toString(16).toUpperCase().padStart(8, '0')
  const file = Math.floor(segmentNo / segmentsPerFile)
  const keep = `00000001${hex(file)}${hex(segmentNo % segmentsPerFile)}`
  const folder = at('pg_wal')
  for (const name of files.list(folder)) {
    if (/^[0-9A-F]{24}$/.test(name) && name !== keep) files.unlink(folder, name)
  }
  const used = (lsn % WAL_SEGMENT_BYTES) + CHECKPOINT_RECORD_BYTES_MAX
  const segment = at(`pg_wal/${keep}`)
  files.truncate(segment, Math.ceil(used / WAL_PAGE_BYTES) * WAL_PAGE_BYTES)
  // Postgres expects segments of full size; the rest reads as zeros.
  files.truncate(segment, WAL_SEGMENT_BYTES)
}

/**
 * The base libraries of the stock bundle, by path. The others (encoding conversions, replication)
 * call functions that the stock module does not export: a slot would die of the first such call,
 * while a library that cannot be opened is an error of one statement.
 */
async function stockLibraries(): Promise<FilePack> {
  const pglite = await PGlite.create({ noInitDb: true })
  const fs = pglite.Module.FS as PgliteFs
  const paths = BASE_LIBRARIES.map((name) => `${LIBRARY_FOLDER}/${name}`)
  return new Map(paths.map((path) => [path, fs.readFile(path)]))
}

function buildOverlay(stock: StockFiles, libraries: FilePack): FilePack {
  const files = new Map(libraries)
  for (const archive of stock.extensions.values()) {
    for (const [name, bytes] of readTar(stock.gunzip(archive))) {
      if (!name.startsWith('include/')) files.set(`/pglite/${name}`, bytes)
    }
  }
  for (const [path, bytes] of files) {
    if (path.endsWith('.so'))
      files.set(path, withMemoryLimits(bytes, { ...slotMemory, minimumPages: 1 }))
  }
  // As it will be read: the pack is sorted, and instances must lay files in one order.
  return parsePack(serializePack(files))
}

function exportsOf(libraries: FilePack, compile: BuildOptions['compile']): LibraryExports {
  const exports: Record<string, readonly string[]> = {}
  for (const name of BASE_LIBRARIES) {
    const bytes = libraries.get(`${LIBRARY_FOLDER}/${name}`)
    assert(bytes, `the stock bundle has ${name}`)
    exports[name] = WebAssembly.Module.exports(compile(bytes.slice()))
      .filter((entry) => entry.kind === 'function' && !entry.name.startsWith('__'))
      .map((entry) => entry.name)
  }
  return exports
}

async function buildPreMain(
  { stock, factory, compile, clock }: BuildOptions,
  {
    template,
    overlay,
    libraryExports,
  }: Pick<EngineAssets, 'template' | 'overlay' | 'libraryExports'>,
): Promise<EngineAssets['preMain']> {
  const module = compile(withMemoryLimits(stock.wasm, slotMemory))
  const bundle = stock.bundle.slice().buffer as ArrayBuffer
  const serverLog = (): void => {}
  const shared = { factory, module, bundle, overlay, libraryExports, memory: slotMemory }
  const parts = { ...shared, serverLog, dirtyBytesMax: Number.POSITIVE_INFINITY }
  const instance = await Instance.create(parts, TenantFiles.inMemory({ template, clock }))
  makeCommitsDurable(instance.module.HEAPU8)
  return captureMemory(instance.module.HEAPU8, {
    stackPointer: Number(instance.module.___stack_pointer.value),
    tableLength: instance.tableLength,
    heapEnd: instance.heapEnd,
  })
}
