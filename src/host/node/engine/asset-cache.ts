/**
 * Where the engine's assets are, and their build if they are nowhere. Looked for in this order:
 *   1. `assets/` beside the published code (a package from npm brings them along)
 *   2. the cache: $PGNAP_CACHE, or `.pgnap-cache` in a checkout, or the user's cache folder
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { PgnapError } from '../../../base/errors.ts'
import type { Fingerprint } from '../../../base/ids.ts'
import { blockCountMax, proveAssets, verifyAssets } from '../../../engine/engine-assets.ts'
import type { Verification } from '../../../engine/engine-assets.ts'
import { cacheFolder } from '../cache-folder.ts'
import { packageRoot } from '../package-root.ts'
import { assetsIn, type OpenFile, openForever, type SharedFile, shared } from './sparse-file.ts'
import type { SparseFile } from './sparse-file.ts'

export interface CacheOptions {
  /** Told about each step of a build, the only part that takes seconds. */
  readonly progress?: (step: string) => void
  /** The one folder where assets are looked for and built. Default: as above. */
  readonly cacheFolder?: string
}

export interface AssetFile {
  readonly path: string
  readonly file: ProvableFile
}

/** An asset file, and what threads together have found out about it. */
export interface ProvableFile extends SharedFile {
  /** See {@link Verification}. */
  readonly proven: SharedArrayBuffer
}

/**
 * The asset file that is most likely the right one, before the hash of the stock files has named
 * it: a package has one, of those in a cache it is the one that was used last.
 */
export function guessAssets(options: CacheOptions): AssetFile | undefined {
  for (const folder of assetFolders(options)) {
    if (!existsSync(folder)) continue
    const [path] = readdirSync(folder)
      .filter((name) => /^engine-[0-9a-f]+\.bin$/.test(name))
      .map((name) => join(folder, name))
      .toSorted((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)
    if (path !== undefined) return { path, file: provable(openForever(path)) }
  }
  return undefined
}

/**
 * The verified assets of a build; they are built if they are not there or damaged.
 * @param guess what {@link guessAssets} found: if it is right, it is what is returned
 * @throws PgnapError ENGINE_ASSETS_INVALID
 */
export async function ensureAssets(
  fingerprint: Fingerprint,
  options: CacheOptions,
  guess?: AssetFile,
): Promise<ProvableFile> {
  const name = assetFileName(fingerprint)
  const { progress = () => {} } = options
  const paths = assetFolders(options).map((folder) => join(folder, name))
  const found = paths.find((path) => existsSync(path))
  if (found !== undefined) {
    const file = found === guess?.path ? guess.file : provable(openForever(found))
    if (await isIntact(file, fingerprint)) {
      if (guess && guess.path !== found) await noteUse(found)
      return file
    }
    progress('the cached engine is damaged, building it anew')
  }
  const { buildAssetFile } = await import('./build-asset-file.ts')
  const folder = options.cacheFolder ?? cacheFolder()
  const path = join(folder, name)
  await buildAssetFile(path, progress)
  const file = provable(openForever(path))
  await verify(file, fingerprint)
  return file
}

/** Where several builds share a cache, the next start is to guess this one. */
async function noteUse(path: string): Promise<void> {
  const now = new Date()
  // A cache that cannot be written serves as well, a fifth of a second later.
  await utimes(path, now, now).catch(() => {})
}

/** File name of the assets of one build. */
export function assetFileName(fingerprint: Fingerprint): string {
  return `engine-${fingerprint}.bin`
}

/** Where assets may be, in the order in which they are looked for. */
function assetFolders({ cacheFolder: only }: CacheOptions): readonly string[] {
  if (only !== undefined) return [only]
  return [join(packageRoot(), 'dist', 'assets'), cacheFolder()]
}

async function isIntact(file: ProvableFile, fingerprint: Fingerprint): Promise<boolean> {
  try {
    await verify(file, fingerprint)
    return true
  } catch (error) {
    if (error instanceof PgnapError && error.code === 'ENGINE_ASSETS_INVALID') return false
    throw error
  }
}

async function verify(file: ProvableFile, fingerprint: Fingerprint): Promise<void> {
  const { source, ...how } = verificationOf(file)
  await verifyAssets(source, fingerprint, how)
}

/**
 * Takes part in verifying a file, from its end. Whoever verifies it has the last word.
 * @throws PgnapError ENGINE_ASSETS_INVALID if it has found damage
 */
export async function helpToVerify(file: ProvableFile): Promise<void> {
  const { source, ...how } = verificationOf(file)
  await proveAssets(source, { ...how, backwards: true })
}

function verificationOf(file: ProvableFile): Verification & { readonly source: SparseFile } {
  const source = assetsIn(file)
  return { source, hash: (part) => source.sha256(part), proven: new Uint8Array(file.proven) }
}

function provable(file: OpenFile): ProvableFile {
  return { ...shared(file), proven: new SharedArrayBuffer(blockCountMax(file.sizeBytes)) }
}
