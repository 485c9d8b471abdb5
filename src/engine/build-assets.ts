/**
 * Makes the assets of an engine from stock PGlite, with no recompiled Postgres:
 *
 *   1. a cluster: initdb with small WAL segments, VACUUM FREEZE, clean shutdown, spare WAL gone
 *   2. the overlay: side modules whose memory import is declared like the slot's, extension files
 *   3. the pre-main image: one instance, side modules loaded, main not called
 *   4. the base: Postgres started on the cluster and idle, its catalogs read, its files
 *      checkpointed; the files at that moment are the template, so that a tenant which has written
 *      nothing *is* the base, and Postgres need not be started for it
 *
 * The base starts by recovery, as a tenant does whose image was dropped: the more alike the two,
 * the smaller is what distinguishes them.
 *
 * The result is reproducible as far as clocks and randomness are: whoever calls this freezes both
 * (host/node/engine-build), because initdb writes them into the cluster, and a store is a
 * difference from exactly one template.
 */
import { PGlite } from '@electric-sql/pglite'
import { assert } from '../base/assert.ts'
import { fromUtf8, utf8 } from '../base/bytes.ts'
import { isFilled, wholeBytes } from '../base/sparse-bytes.ts'
import { message } from '../base/protocol-message.ts'
import type { Clock } from '../base/clock.ts'
import { Template } from '../store/template.ts'
import { TenantFiles } from '../store/tenant-files.ts'
import type { EmscriptenFactory } from './emscripten.ts'
import { replaceSignalFunctions } from './backend-signals.ts'
import { dropComments, keepLastSegment } from './cluster-files.ts'
import { replaceDatabaseFunctions } from './database-functions.ts'
import { copyMethod, findScanAnchors, makeRoomForMethod } from './database-scan.ts'
import { findStatementAnchors, hookUtility } from './database-statements.ts'
import { BUILT_NAME, findNames } from './database-name.ts'
import { makeCommitsDurable } from './durable-commit.ts'
import {
  type BuiltAssets,
  type EngineAssets,
  digestsOf,
  fingerprintOf,
  type StockFiles,
} from './engine-assets.ts'
import { exportPlacesOf } from './function-table.ts'
import { type FilePack, parsePack, serializePack } from './file-pack.ts'
import { Instance, type CodeParts, type LibraryParts } from './instance.ts'
import { LibraryCode } from './library-code.ts'
import { type LibraryLayout, layOutLibraries } from './library-layout.ts'
import { BASE_LIBRARIES, isBase, LIBRARY_FOLDER, type LibraryExports } from './library-loader.ts'
import { replaceLocking } from './advisory-locks.ts'
import { type BaseImage, emptyRuns, imageOf, layOut } from './base-memory.ts'
import { Driver } from './driver.ts'
import { encodingProbe, findEncoding } from './client-encoding.ts'
import { findCommandRead } from './command-read.ts'
import { findFirstSnapshot } from './first-snapshot.ts'
import { replaceActivity } from './session-activity.ts'
import { memoryDeltaCode } from './memory-delta-code.ts'
import { bindMemoryDelta, DELTA_PAGE_BYTES, Scratch } from './memory-delta.ts'
import { MemorySearch } from './memory-search.ts'
import { findRandomState, seedStatement } from './random-state.ts'
import { findReporting } from './setting-reports.ts'
import { CONVERSIONS, SHARED_BUFFERS_BYTES, START_PARAMETERS, WAL_SEGMENT_BYTES } from './recipe.ts'
import { PGDATA } from './slot-files.ts'
import { shareTemporaryBuffers } from './temporary-buffers.ts'
import { findTemporarySchemas } from './temporary-schemas.ts'
import { findTransactionStart } from './transaction-start.ts'
import { startPostgres } from './postgres-process.ts'
import { neededExports } from './needed-exports.ts'
import { runsWithin } from './page-runs.ts'
import { DOOR_IMPORT, pausePatch } from './pausing.ts'
import {
  findSessionAnchors,
  probeParse,
  probeQuestions,
  probeStatements,
} from './session-anchors.ts'
import type { SessionAnchors } from './session-memory.ts'
import { largestMapping, MAPPING_DOOR_IMPORT, type Mapping } from './shared-memory.ts'
import { mappingPatch, sharedMemoryOf } from './shared-memory.ts'
import { readTar } from './tar.ts'
import { slotMemory } from './slot-memory.ts'
import {
  type BytePatch,
  bodyOf,
  exportedNumber,
  exportIndex,
  fewerExports,
  importIndex,
  lendPatched,
  limitsPatches,
  WASM_PAGE_BYTES,
  withMemoryLimits,
} from './wasm-module.ts'

const MIB = 1024 * 1024

export interface BuildOptions {
  readonly stock: StockFiles
  readonly factory: EmscriptenFactory
  /** Compiles wasm; the module is used in this process only. */
  readonly compile: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module
  readonly clock: Clock
  /** Told the name of each step as it begins. */
  readonly progress: (step: string) => void
}

export async function buildAssets(options: BuildOptions): Promise<BuiltAssets> {
  const { stock, progress } = options
  progress('initdb')
  const cluster = await buildCluster(options)
  progress('side modules')
  const libraries = await stockLibraries()
  const overlay = buildOverlay(stock, libraries)
  const libraryExports = exportsOf(libraries, options.compile)
  const libraryLayout = layOutExtensions(overlay, options.compile)
  progress('memory images')
  const digests = await digestsOf(stock)
  const fingerprint = await fingerprintOf(digests)
  const codePatches = patchesFor(options, overlay)
  const exportPlaces = lendPatched(stock.wasm.slice(), codePatches, exportPlacesOf)
  const code = { codePatches, exportPlaces }
  const parts = { overlay, libraryExports, libraryLayout, ...code, fill: isFilled }
  const moduleDigest = digests.wasm
  return { fingerprint, moduleDigest, ...parts, ...(await buildImages(options, cluster, parts)) }
}

type PgliteFs = {
  readdir(path: string): string[]
  stat(path: string): { readonly mode: number }
  isDir(mode: number): boolean
  readFile(path: string): Uint8Array
}

async function buildCluster({ clock }: BuildOptions): Promise<Template> {
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
  dropComments(files)
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
 * The libraries of the stock bundle that are of use, by path. The others (replication, and
 * conversions that no client of a UTF-8 database needs) call functions that the stock module does
 * not export: a slot would die of the first such call, while a library that cannot be opened is an
 * error of one statement.
 */
async function stockLibraries(): Promise<FilePack> {
  const pglite = await PGlite.create({ noInitDb: true })
  const fs = pglite.Module.FS as PgliteFs
  const paths = [...BASE_LIBRARIES, ...CONVERSIONS].map((name) => `${LIBRARY_FOLDER}/${name}`)
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
      files.set(
        path,
        withMemoryLimits(bytes, () => ({ ...slotMemory, minimumPages: 1 })),
      )
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

/** All libraries but those that every instance begins with. */
function layOutExtensions(overlay: FilePack, compile: BuildOptions['compile']): LibraryLayout {
  const libraries = [...overlay].filter(([path]) => path.endsWith('.so') && !isBase(path))
  return layOutLibraries(
    new Map(libraries.map(([path, bytes]) => [path, { bytes, module: compile(bytes.slice()) }])),
  )
}

/** What makes of PGlite's module the one of this engine. */
function patchesFor({ stock, compile }: BuildOptions, overlay: FilePack): readonly BytePatch[] {
  const { wasm, glue } = stock
  const libraries = [...overlay].filter(([path]) => path.endsWith('.so'))
  const needed = neededExports({
    wasm,
    main: compile(wasm.slice()),
    glue: fromUtf8(glue),
    libraries: libraries.map(([, bytes]) => compile(bytes.slice())),
  })
  return [
    ...limitsPatches(wasm, slotMemory),
    fewerExports(wasm, (name) => needed.has(name)),
    pausePatch(wasm, bodyOf(wasm, 'ProcessInterrupts'), {
      flagAt: exportedNumber(wasm, 'InterruptPending'),
      doorIndex: importIndex(wasm, DOOR_IMPORT),
    }),
    mappingPatch(wasm, bodyOf(wasm, 'mmap'), {
      memset: exportIndex(wasm, 'memset'),
      doorIndex: importIndex(wasm, MAPPING_DOOR_IMPORT),
    }),
  ]
}

/** What a new backend reads of the catalogs before it can answer what clients usually ask first. */
const WARMING: readonly string[] = [
  'select 1',
  `select c.relname, a.attname, t.typname from pg_class c
     join pg_attribute a on a.attrelid = c.oid join pg_type t on t.oid = a.atttypid
     where c.relname = 'pg_namespace' order by 2`,
  `select count(*) from pg_proc where proname like 'a%'`,
  'do $$ begin perform now(); end $$',
  'select $$a$$::text = $$b$$, 1::bigint + 1, now()::date, $${}$$::jsonb',
  // What almost every tenant does first. Rolled back: only caches remember it.
  `begin; create table warming(id serial primary key, name text not null default 'x', at date)`,
  'create index on warming(name)',
  `insert into warming(name) select 'row ' || g from generate_series(1, 50) g`,
  'select * from warming where id = 1',
  'update warming set at = now() where id = 2',
  'delete from warming where id = 3',
  'select count(*), max(name) from warming group by at order by 1',
  'rollback',
]

type Images = Pick<
  EngineAssets,
  'template' | 'base' | 'idle' | 'preMain' | 'tableLength' | 'randomStateAt' | 'sessionAnchors'
>

async function buildImages(
  { stock, factory, compile, clock }: BuildOptions,
  cluster: Template,
  built: Omit<LibraryParts, 'libraryCode'> & Pick<BuiltAssets, 'codePatches' | 'libraryLayout'>,
): Promise<Images> {
  const parts: CodeParts = {
    factory,
    module: lendPatched(stock.wasm.slice(), built.codePatches, compile),
    bundle: wholeBytes(stock.bundle.slice()),
    memory: slotMemory,
    serverLog: () => {},
    dirtyBytesMax: Number.POSITIVE_INFINITY,
  }
  const libraryCode = new LibraryCode({ ...built, layout: built.libraryLayout, compile })
  const start = async (template: Template, anchors?: SessionAnchors): Promise<Run> => {
    const files = TenantFiles.inMemory({ template, clock })
    const instance = await Instance.begin(parts, files)
    instance.complete({ ...built, libraryCode })
    return startRun(instance, files, anchors)
  }
  const first = await start(cluster)
  first.run('checkpoint')
  const started = Template.fromFiles(first.files)
  first.run(seedStatement)
  const randomStateAt = findRandomState(first.instance.module.HEAPU8)
  const sessionAnchors = probeSession(first)

  const second = await start(started, sessionAnchors)
  const { instance, files, run, preMain, tableLength, mapped } = second
  for (const statement of WARMING) run(statement)
  // Half a megabyte of WAL lies in segments that the checkpoint then removes.
  run('select pg_switch_wal()')
  run('checkpoint')
  const template = Template.fromFiles(files)
  const base = imageOf(instance.module.HEAPU8, instance.heapEnd)
  const descriptors = instance.files.descriptors()
  assert(descriptors, 'an idle backend has only its own files open')
  const inodes = sameFiles(files, TenantFiles.inMemory({ template, clock }))
  return {
    template,
    base,
    idle: {
      stackPointer: Number(instance.module.___stack_pointer.value),
      names: findNames(instance.module.HEAPU8, files, buffersOf(instance)),
      libraryHandles: instance.libraryHandles,
      descriptors: descriptors.map((descriptor) => {
        const ino = inodes.get(descriptor.ino)
        assert(ino, 'what is open is in the template')
        return { ...descriptor, ino }
      }),
    },
    preMain: {
      stackPointer: preMain.stackPointer,
      ...differenceOf(preMain, base, compile),
      sharedMemory: sharedMemoryOf(mapped, buffersOf(instance).at),
    },
    tableLength,
    randomStateAt,
    sessionAnchors,
  }
}

function buffersOf(instance: Instance): { readonly at: number; readonly bytes: number } {
  const pointer = instance.addressOf('BufferBlocks')
  return { at: new MemorySearch(instance.module.HEAPU8).word(pointer), bytes: SHARED_BUFFERS_BYTES }
}

function probeSession({
  instance,
  replaced,
  methodRoom,
  run,
  send,
}: Run): EngineAssets['sessionAnchors'] {
  const statements = findStatementAnchors(instance, run)
  for (const statement of probeStatements) run(statement)
  const ask = (question: string): number => idIn(run(question))
  const ids = {
    schema: ask(probeQuestions.schema),
    toastSchema: ask(probeQuestions.toastSchema),
    sequence: ask(probeQuestions.sequence),
  }
  send(probeParse)
  const heap = instance.module.HEAPU8
  const view = new DataView(heap.buffer)
  const process = {
    processId: instance.addressOf('MyProcPid'),
    process: instance.addressOf('MyProc'),
    databaseId: view.getUint32(instance.addressOf('MyDatabaseId'), true),
  }
  const anchors = findSessionAnchors(heap, { ids, process, staticEnd: instance.heapStart })
  const reporting = findReporting(heap, anchors.settings, run)
  const probe = { heap: () => instance.module.HEAPU8, staticEnd: instance.heapStart, run }
  const commandRead = findCommandRead({ ...probe, send })
  const transactionStart = findTransactionStart(probe)
  const firstSnapshot = findFirstSnapshot({ ...probe, send })
  const scans = findScanAnchors(new MemorySearch(instance.module.HEAPU8), instance, methodRoom)
  const transaction = { transactionStart, firstSnapshot }
  run(encodingProbe[0])
  const encoding = findEncoding(instance.module.HEAPU8, instance.heapStart)
  run(encodingProbe[1])
  const { relations } = scans
  const temporary = findTemporarySchemas({ instance, ...ids, relations, run, ask })
  const found = { reporting, statements, commandRead, scans, encoding, temporary }
  return { ...anchors, ...replaced, ...transaction, ...found }
}

/** The one value of an answer, which stands before CommandComplete. */
function idIn(answer: string): number {
  const id = Number(/(\d+)C\0/.exec(answer)?.[1])
  assert(id > 0, 'a question for an id is answered')
  return id
}

interface BeforeMain {
  readonly image: BaseImage
  /** Where its heap ends: what lies beyond belongs to nobody. */
  readonly endBytes: number
}

interface Run {
  readonly instance: Instance
  readonly files: TenantFiles
  readonly preMain: BeforeMain & { readonly stackPointer: number }
  readonly tableLength: number
  /** The largest mapping that its start made. */
  readonly mapped: Mapping
  /** What was called before. */
  readonly replaced: Pick<
    SessionAnchors,
    'signals' | 'databaseFunctions' | 'activityFunction' | 'advisory'
  >
  readonly methodRoom: number
  /** Runs a statement; its answer as text. */
  readonly run: (statement: string) => string
  readonly send: (messages: Uint8Array) => void
}

/**
 * Starts Postgres in a new instance, whose memory before that is kept.
 * @param anchors once they are known
 */
function startRun(instance: Instance, files: TenantFiles, anchors?: SessionAnchors): Run {
  const { module, tableLength } = instance
  makeCommitsDurable(module.HEAPU8)
  shareTemporaryBuffers(module)
  const memory = new MemorySearch(module.HEAPU8)
  const { lent } = instance
  const replaced: Run['replaced'] = {
    signals: replaceSignalFunctions(memory, lent.signals),
    databaseFunctions: replaceDatabaseFunctions(memory, lent.databaseFunctions),
    activityFunction: replaceActivity(memory, lent.activity),
    advisory: replaceLocking(memory, lent.locking),
  }
  hookUtility(memory, instance)
  const methodRoom = makeRoomForMethod(instance)
  if (anchors) copyMethod(instance, anchors.scans)
  const preMain = {
    image: imageOf(module.HEAPU8, instance.heapEnd),
    endBytes: instance.heapEnd,
    stackPointer: Number(module.___stack_pointer.value),
  }
  // Made here, as in a slot: it adds functions to the table.
  const driver = new Driver({ module, answerBytesMax: 2 ** 20, cancel: () => {} })
  instance.files.switchTo(files, BUILT_NAME)
  // The base is to be as like a tenant that was booted as can be: it keeps its relcache files.
  instance.files.starting = anchors !== undefined
  const mapped = largestMapping(instance, () =>
    startPostgres(instance, START_PARAMETERS, anchors?.reporting),
  )
  instance.files.starting = false
  const run = (statement: string): string => {
    const answer = fromUtf8(driver.run(message('Q', utf8(`${statement}\0`))).slice())
    assert(!answer.startsWith('E'), `the engine's build runs "${statement}"`)
    return answer
  }
  const send = (messages: Uint8Array): void => void driver.run(messages)
  return { instance, files, preMain, tableLength, mapped, replaced, methodRoom, run, send }
}

/**
 * The memory before `main` against the base. Of what it has no heap for yet nothing is said: there
 * a slot has what the base has, and whoever takes such memory may find anything in it, as in any
 * that was freed.
 */
function differenceOf(
  { image, endBytes }: BeforeMain,
  base: BaseImage,
  compile: BuildOptions['compile'],
): Omit<EngineAssets['preMain'], 'stackPointer' | 'sharedMemory'> {
  const slot = layOut(image, slotMemory)
  const laidOut = layOut(base, slotMemory)
  // All of the base must be comparable, however short the other one is.
  const missing = laidOut.memory.buffer.byteLength - slot.memory.buffer.byteLength
  if (missing > 0) slot.memory.grow(missing / WASM_PAGE_BYTES)
  if (missing < 0) laidOut.memory.grow(-missing / WASM_PAGE_BYTES)
  const endPage = Math.ceil(endBytes / DELTA_PAGE_BYTES)
  const runs = runsWithin(emptyRuns(slot.memory, laidOut), 0, endPage)
  const fullRuns = emptyRuns(laidOut.memory, slot)
  const parts = {
    base: laidOut,
    code: compile(memoryDeltaCode(slotMemory)),
    scratch: new Scratch(),
  }
  bindMemoryDelta({ slot: laidOut.memory, ...parts }).clear(runs)
  const delta = bindMemoryDelta({ slot: slot.memory, ...parts })
  return { emptyRuns: runs, fullRuns, delta: delta.capture(endBytes) }
}

/** Inode numbers of the files of one tree, by those of another tree with the same names. */
function sameFiles(from: TenantFiles, to: TenantFiles): ReadonlyMap<number, number> {
  const inodes = new Map<number, number>()
  const walk = (a: TenantFiles['root'], b: TenantFiles['root']): void => {
    inodes.set(a.ino, b.ino)
    if (!a.isDirectory) return
    for (const name of to.list(b)) {
      const [inA, inB] = [from.lookup(a, name), to.lookup(b, name)]
      if (inA && inB) walk(inA, inB)
    }
  }
  walk(from.root, to.root)
  return inodes
}
