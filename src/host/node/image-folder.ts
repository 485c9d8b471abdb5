/**
 * Memory images of tenants that sleep, one file each beside the stores. It is a cache: a file that
 * is missing, old, damaged or of another build only means that its tenant boots from its store. So
 * nothing is synced to disk, and nothing here may make a request fail.
 *
 *   offset | size | field
 *        0 |    8 | magic "PGNAPIMG"
 *        8 |    4 | format version, u32 little endian
 *       12 |    4 | length of the header, u32 little endian
 *       16 |   32 | SHA-256 of all that follows
 *       48 |    n | header: JSON as UTF-8, everything but the delta
 *          |      | the delta (memory-delta.ts), zstd level 1
 */
import { hash } from 'node:crypto'
import { readFileSync, renameSync, rmSync, statSync, unlinkSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { PgnapError } from '../../base/errors.ts'
import type { TenantName } from '../../base/ids.ts'
import type { Log } from '../../base/log.ts'
import type { SlotImage } from '../../engine/slot-image.ts'
import type { ImageAhead, ImageStore, StoredImage } from '../../pool/tenant-source.ts'
import { IMAGE_SUFFIX, imagePath } from './tenant-files-on-disk.ts'
import { compress, decompress, decompressNow } from './zstd.ts'

const MAGIC = 'PGNAPIMG'
const FORMAT_VERSION = 1
const HASH_AT = 16
const HEADER_AT = 48
/** A file that is being written, or was when a process ended: tenant, suffix, number. */
const UNFINISHED = /^(.+)\.img\.\d+\.new$/
const FOLDER_MODE = 0o700
const FILE_MODE = 0o600

export interface ImageFolderOptions {
  readonly path: string
  /** Bytes of files; beyond, the oldest are removed. 0: nothing is kept. */
  readonly bytesMax: number
  /** Whether a file found here belongs to this shard. */
  readonly owns: (tenant: TenantName) => boolean
  readonly log: Log
}

type Header = Omit<StoredImage, 'image'> & {
  readonly image: Omit<SlotImage, 'delta' | 'copied'>
  readonly delta: { readonly endBytes: number; readonly length: number }
}

export class ImageFolder implements ImageStore {
  readonly #options: ImageFolderOptions
  /** Files of this shard and their bytes, the oldest first; what a former process left included. */
  readonly #files = new Map<TenantName, number>()
  #bytes = 0
  /** The newest write of each tenant that is under way. */
  readonly #writing = new Map<TenantName, symbol>()
  #writeCount = 0
  /** Files that are read ahead, or were and may be claimed; whatever changes a file ends it. */
  readonly #ahead = new Map<TenantName, symbol>()
  #adopting: Promise<void> | undefined
  /** `#files` tells all there is. */
  #adopted = false

  constructor(options: ImageFolderOptions) {
    this.#options = options
  }

  get keepsAny(): boolean {
    return this.#options.bytesMax > 0
  }

  take(tenant: TenantName): StoredImage | undefined {
    const bytes = this.#read(tenant)
    // What stays would be used again, when it is old.
    if (!this.#removed(tenant) || !bytes) return undefined
    try {
      return parse(bytes)
    } catch (error) {
      this.#options.log.warn('an image is damaged and removed', { tenant, error })
      return undefined
    }
  }

  /** Reads and unpacks in other threads; only the hash is made in this one. */
  async readAhead(tenant: TenantName): Promise<ImageAhead | undefined> {
    if (!this.#mayHave(tenant) || this.#writing.has(tenant)) return undefined
    const turn = Symbol(tenant)
    this.#ahead.set(tenant, turn)
    try {
      const packed = split(await readFile(this.#pathOf(tenant)))
      const stored = imageOf(packed, await decompress(packed.delta, packed.lengthMax))
      return { stored, claim: () => this.#claim(tenant, turn) }
    } catch (error) {
      if (this.#ahead.get(tenant) === turn) this.#ahead.delete(tenant)
      // Whoever needs it will say what is wrong; meanwhile it may have been written anew.
      if (!isMissing(error))
        this.#options.log.debug('an image is not read ahead', { tenant, error })
      return undefined
    }
  }

  async write(tenant: TenantName, image: StoredImage): Promise<boolean> {
    const { bytesMax } = this.#options
    if (!this.keepsAny) return false
    const turn = Symbol(tenant)
    this.#ahead.delete(tenant)
    this.#writing.set(tenant, turn)
    const path = this.#pathOf(tenant)
    const unfinished = `${path}.${this.#writeCount++}.new`
    try {
      await this.#adopt()
      const bytes = await serialize(image)
      if (bytes.length > bytesMax || this.#writing.get(tenant) !== turn) return false
      // Beside its name first: a reader sees a whole file or none.
      await writeFile(unfinished, bytes, { mode: FILE_MODE })
      if (this.#writing.get(tenant) !== turn) {
        await rm(unfinished, { force: true })
        return false
      }
      // Not later: the tenant may wake in any turn, and must find all that it leaves behind.
      renameSync(unfinished, path)
      this.#count(tenant, bytes.length)
    } catch (cause) {
      await rm(unfinished, { force: true }).catch(() => {})
      throw new PgnapError('STORE_IO', `the image of tenant "${tenant}" was not written`, {
        hint: 'look at the disk of the data folder; only the speed of the next wake is lost',
        cause,
      })
    } finally {
      if (this.#writing.get(tenant) === turn) this.#writing.delete(tenant)
    }
    for (const oldest of this.#files.keys()) {
      if (this.#bytes <= bytesMax) break
      this.remove(oldest)
    }
    return this.#files.has(tenant)
  }

  remove(tenant: TenantName): void {
    this.#removed(tenant)
  }

  /** Removes the images of all tenants of this shard but some. */
  async removeAll(isKept: (tenant: TenantName) => boolean): Promise<void> {
    if (!this.keepsAny) return
    await this.#adopt()
    for (const tenant of this.#files.keys()) if (!isKept(tenant)) this.remove(tenant)
  }

  /** Where nothing is kept any more: removes what former processes have left. Does not reject. */
  async clear(): Promise<void> {
    const { path, owns, log } = this.#options
    try {
      for (const name of await readdir(path)) {
        const tenant = UNFINISHED.exec(name)?.[1] ?? tenantOfImage(name)
        if (tenant !== undefined && owns(tenant as TenantName)) {
          await rm(join(path, name), { force: true })
        }
      }
    } catch (error) {
      if (!isMissing(error)) log.warn('images of a former run are not removed', { error })
    }
  }

  letGo(tenant: TenantName): void {
    // A file that appeared later would be of a run that goes on elsewhere.
    this.#writing.delete(tenant)
    this.#ahead.delete(tenant)
    this.#count(tenant, 0)
  }

  /** Another shard has let go of a tenant, and may have left a file: it is ours from now on. */
  accept(tenant: TenantName): void {
    this.#ahead.delete(tenant)
    let bytes = 1
    try {
      bytes = statSync(this.#pathOf(tenant), { throwIfNoEntry: false })?.size ?? 0
    } catch (error) {
      // Better believed to be there than used when it is old.
      this.#options.log.warn('an image cannot be looked at', { tenant, error })
    }
    this.#count(tenant, bytes)
  }

  #read(tenant: TenantName): Uint8Array | undefined {
    if (!this.#mayHave(tenant)) return undefined
    try {
      return readFileSync(this.#pathOf(tenant))
    } catch (error) {
      if (!isMissing(error)) this.#options.log.warn('an image cannot be read', { tenant, error })
      return undefined
    }
  }

  /** In one turn: the file is gone and the image is the caller's, or nothing has changed. */
  #claim(tenant: TenantName, turn: symbol): boolean {
    if (this.#ahead.get(tenant) !== turn) return false
    this.#ahead.delete(tenant)
    try {
      // Throws as well if somebody else has removed it: then it may have been used.
      unlinkSync(this.#pathOf(tenant))
    } catch (error) {
      this.#options.log.warn('an image that was read ahead cannot be taken', { tenant, error })
      return false
    }
    this.#count(tenant, 0)
    return true
  }

  /** False: it is still there. */
  #removed(tenant: TenantName): boolean {
    this.#writing.delete(tenant)
    this.#ahead.delete(tenant)
    if (!this.#mayHave(tenant)) return true
    try {
      rmSync(this.#pathOf(tenant), { force: true })
    } catch (error) {
      this.#options.log.warn('an image cannot be removed', { tenant, error })
      return false
    }
    this.#count(tenant, 0)
    return true
  }

  /** A wake from memory need not ask the file system. */
  #mayHave(tenant: TenantName): boolean {
    return !this.#adopted || this.#files.has(tenant)
  }

  #count(tenant: TenantName, bytes: number): void {
    this.#bytes += bytes - (this.#files.get(tenant) ?? 0)
    this.#files.delete(tenant)
    if (bytes > 0) this.#files.set(tenant, bytes)
  }

  #pathOf(tenant: TenantName): string {
    return imagePath(this.#options.path, tenant)
  }

  /** Counts what a former process has left. Not before something is to be added to it. */
  async #adopt(): Promise<void> {
    if (this.#adopted) return
    this.#adopting ??= this.#adoptAll().finally(() => (this.#adopting = undefined))
    await this.#adopting
  }

  async #adoptAll(): Promise<void> {
    const { path, owns } = this.#options
    await mkdir(path, { recursive: true, mode: FOLDER_MODE })
    const found: { tenant: TenantName; bytes: number; modifiedMs: number }[] = []
    for (const name of await readdir(path)) {
      const unfinished = UNFINISHED.exec(name)?.[1]
      if (unfinished !== undefined && owns(unfinished as TenantName)) {
        await rm(join(path, name), { force: true })
      }
      const tenant = tenantOfImage(name)
      if (tenant === undefined || !owns(tenant)) continue
      // A tenant that wakes meanwhile takes its image along.
      const facts = await stat(join(path, name)).catch(() => undefined)
      if (facts) found.push({ tenant, bytes: facts.size, modifiedMs: facts.mtimeMs })
    }
    found.sort((a, b) => a.modifiedMs - b.modifiedMs)
    for (const { tenant, bytes } of found) this.#count(tenant, bytes)
    this.#adopted = true
  }
}

function tenantOfImage(file: string): TenantName | undefined {
  if (!file.endsWith(IMAGE_SUFFIX)) return undefined
  return file.slice(0, -IMAGE_SUFFIX.length) as TenantName
}

async function serialize({ image, ...rest }: StoredImage): Promise<Uint8Array> {
  const { delta, copied: _, ...facts } = image
  const header: Header = {
    ...rest,
    image: facts,
    delta: { endBytes: delta.endBytes, length: delta.bytes.length },
  }
  const text = utf8(JSON.stringify(header))
  const packed = await compress(delta.bytes)
  const bytes = new Uint8Array(HEADER_AT + text.length + packed.length)
  bytes.set(utf8(MAGIC))
  const view = new DataView(bytes.buffer)
  view.setUint32(8, FORMAT_VERSION, true)
  view.setUint32(12, text.length, true)
  bytes.set(text, HEADER_AT)
  bytes.set(packed, HEADER_AT + text.length)
  bytes.set(hash('sha256', bytes.subarray(HEADER_AT), 'buffer'), HASH_AT)
  return bytes
}

/** Throws whatever is wrong with it. */
function parse(bytes: Uint8Array): StoredImage {
  const packed = split(bytes)
  return imageOf(packed, decompressNow(packed.delta, packed.lengthMax))
}

interface PackedImage {
  readonly header: Header
  readonly delta: Uint8Array
  readonly lengthMax: number
}

/** Checks a file as a whole, and takes it apart. */
function split(bytes: Uint8Array): PackedImage {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < HEADER_AT || fromUtf8(bytes.subarray(0, 8)) !== MAGIC) throw damaged('magic')
  if (view.getUint32(8, true) !== FORMAT_VERSION) throw damaged('format')
  const expected = Buffer.from(bytes.subarray(HASH_AT, HEADER_AT))
  if (!expected.equals(hash('sha256', bytes.subarray(HEADER_AT), 'buffer'))) throw damaged('hash')
  const deltaAt = HEADER_AT + view.getUint32(12, true)
  const header = JSON.parse(fromUtf8(bytes.subarray(HEADER_AT, deltaAt))) as Header
  // Node refuses to be told that nothing will come out.
  const lengthMax = Math.max(1, header.delta.length)
  return { header, delta: bytes.subarray(deltaAt), lengthMax }
}

function imageOf({ header }: PackedImage, unpacked: Uint8Array): StoredImage {
  const { delta, image, ...rest } = header
  if (unpacked.length !== delta.length) throw damaged('length')
  return {
    ...rest,
    image: { ...image, delta: { bytes: unpacked, endBytes: delta.endBytes }, copied: true },
  }
}

function damaged(what: string): PgnapError {
  return new PgnapError('IMAGE_INVALID', `the file is no image of this format: ${what}`)
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
