/** The asset file: whatever is wrong with it is found before it is used. */
import assert from 'node:assert/strict'
import {
  copyFileSync,
  cpSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { before, test } from 'node:test'
import { PgnapError } from '../../src/base/errors.ts'
import type { Fingerprint } from '../../src/base/ids.ts'
import { wholeBytes } from '../../src/base/sparse-bytes.ts'
import {
  blockCountMax,
  digestsOf,
  fingerprintOf,
  isCodeProven,
  parseCode,
  parseVerifiedAssets,
  sha256,
  verifyAssets,
} from '../../src/engine/engine-assets.ts'
import { POSTGRES_VERSION } from '../../src/engine/recipe.ts'
import { systemClock } from '../../src/host/node/clock.ts'
import { systemRandom } from '../../src/host/node/random.ts'
import { assetFileName } from '../../src/host/node/engine/asset-cache.ts'
import {
  createEngine,
  type EngineParts,
  loadEngineParts,
  type Preparer,
} from '../../src/host/node/engine/load-engine.ts'
import { assetsIn } from '../../src/host/node/engine/sparse-file.ts'
import { readStock } from '../../src/host/node/engine/stock.ts'
import { TenantFiles } from '../../src/store/tenant-files.ts'
import { valueOf } from '../support/messages.ts'
import { startServer } from '../support/server.ts'
import { testFolder } from '../support/temporary-folder.ts'

const folder = testFolder()

let fingerprint: Fingerprint
let parts: EngineParts
/** All of the asset file. */
let bytes: Uint8Array<ArrayBuffer>
before(async () => {
  fingerprint = await fingerprintOf(await digestsOf(readStock()))
  parts = await loadEngineParts()
  const source = assetsIn(parts.assets)
  source.fill(source.bytes)
  bytes = new Uint8Array(source.bytes)
})

const isInvalid = (error: unknown): boolean =>
  error instanceof PgnapError && error.code === 'ENGINE_ASSETS_INVALID' && error.hint !== undefined

/** This checkout as a clone of it is: without engines that somebody has built before. */
function freshCheckout(): { readonly program: string; readonly cache: string } {
  const root = testFolder()
  for (const name of ['src', 'package.json']) cpSync(name, join(root, name), { recursive: true })
  symlinkSync(resolve('node_modules'), join(root, 'node_modules'))
  return { program: join(root, 'src/cli/main.ts'), cache: join(root, 'cache') }
}

test('a first start builds its engine, and says so; two builds are the same bytes', async () => {
  const { program, cache } = freshCheckout()
  const environment = { ...process.env, PGNAP_CACHE: cache }
  const data = testFolder()
  {
    await using server = await startServer({ data, program: { path: program, environment } })
    const steps = server.log().match(/^pgnap: .*$/gm) ?? []
    assert.ok(steps.length >= 3, server.log())
    const answer = await server.request('/v1/tenants/acme/query', {
      method: 'POST',
      body: '{"sql": "select 6 * 7 as n"}',
    })
    assert.deepEqual(((await answer.json()) as { rows: unknown }).rows, [{ n: 42 }])
    await server.stop()
  }
  const name = assetFileName(fingerprint)
  assert.deepEqual(
    readdirSync(cache).filter((each) => each !== 'code'),
    [name],
  )
  assert.ok(readFileSync(join(cache, name)).equals(bytes))
  copyFileSync(join(cache, name), join(folder, name))
  // The next start finds it, and has nothing to say.
  await using second = await startServer({ data, program: { path: program, environment } })
  assert.doesNotMatch(second.log(), /^pgnap: /m)
})

test('a flipped bit anywhere is found', async () => {
  // All over the header, in each section, and at the very end of the last one.
  const headerBytes = new DataView(bytes.buffer).getUint32(12, true)
  const header = Array.from({ length: 60 }, (_, at) => Math.floor((at / 60) * (80 + headerBytes)))
  const { overlay, base } = parseVerifiedAssets(wholeBytes(bytes))
  const file = (overlay.values().next().value?.byteOffset ?? 0) + 9
  const places = [...header, 79 + headerBytes, base.pages.byteOffset, file]
  for (const place of places) {
    const damaged = new Uint8Array(bytes)
    damaged[place] = (damaged[place] ?? 0) ^ 1
    await assert.rejects(verifyAssets(wholeBytes(damaged), fingerprint), isInvalid, `byte ${place}`)
  }
})

test('nothing of a module runs that a hash has not proven, nor what is changed in it', async () => {
  const { wasm } = await digestsOf(readStock())
  const proven = (file: Uint8Array<ArrayBuffer>, digest: string): Promise<boolean> =>
    isCodeProven(wholeBytes(file), digest, sha256)
  assert.equal(await proven(bytes, wasm), true)
  assert.equal(
    await proven(
      bytes,
      wasm.replace(/^./, (digit) => (digit === '0' ? '1' : '0')),
    ),
    false,
  )
  const [patch] = parseCode(wholeBytes(bytes)).codePatches
  assert.ok(patch)
  const damaged = new Uint8Array(bytes)
  const at = patch.bytes.byteOffset - bytes.byteOffset
  damaged[at] = (damaged[at] ?? 0) ^ 1
  assert.equal(await proven(damaged, wasm), false)
})

test('two who verify a file together share its blocks, and each finds damage', async () => {
  const proven = new Uint8Array(new SharedArrayBuffer(blockCountMax(bytes.length)))
  const hashed: string[] = []
  const together = (file: Uint8Array, backwards: boolean): Promise<void> => {
    const hash = async (part: Uint8Array): Promise<string> => {
      const digest = await sha256(part)
      hashed.push(digest)
      return digest
    }
    return verifyAssets(wholeBytes(file), fingerprint, { hash, proven, backwards })
  }
  await Promise.all([together(bytes, false), together(bytes, true)])
  // The header, and the block in which they meet.
  assert.ok(hashed.length - new Set(hashed).size <= 2, hashed.join())
  assert.ok(hashed.length - 2 > 20, `${hashed.length} blocks`)
  const damaged = new Uint8Array(bytes)
  damaged[bytes.length >> 1] = (damaged[bytes.length >> 1] ?? 0) ^ 1
  await together(damaged, true)
  proven.fill(0)
  const outcomes = await Promise.allSettled([together(damaged, false), together(damaged, true)])
  assert.ok(outcomes.every(({ status }) => status === 'rejected'))
})

test('a file that is cut short, of another build, or no asset file at all is refused', async () => {
  const other = '0'.repeat(32) as Fingerprint
  const parse = (file: Uint8Array, build: Fingerprint): Promise<unknown> =>
    verifyAssets(wholeBytes(file), build)
  await assert.rejects(parse(bytes.subarray(0, 1000), fingerprint), isInvalid)
  await assert.rejects(parse(bytes.subarray(0, -5000), fingerprint), isInvalid)
  await assert.rejects(parse(bytes, other), isInvalid)
  await assert.rejects(parse(new Uint8Array(100), fingerprint), isInvalid)
})

/** A preparer that keeps what it is told. */
function listener(): Preparer & { readonly heard: string[]; parts?: EngineParts } {
  const heard: string[] = []
  return {
    heard,
    begin: () => void heard.push('begin'),
    prepare(parts) {
      heard.push('prepare')
      this.parts = parts
    },
    discard: () => void heard.push('discard'),
  }
}

test('a damaged cache is built anew; what was prepared of it is discarded', async () => {
  const path = join(folder, assetFileName(fingerprint))
  const damaged = readFileSync(path)
  damaged[damaged.length - 5000] = (damaged[damaged.length - 5000] ?? 0) ^ 1
  writeFileSync(path, damaged)
  const steps: string[] = []
  const early = listener()
  const progress = (step: string): void => void steps.push(step)
  await loadEngineParts({ cacheFolder: folder, progress, early })
  assert.match(steps.join(), /damaged/)
  assert.deepEqual(early.heard, ['begin', 'prepare', 'discard'])
  assert.ok(readFileSync(path).equals(bytes))
  // Nothing half-written stays behind.
  assert.deepEqual(readdirSync(folder), [assetFileName(fingerprint)])
})

test('what was prepared of unverified assets is used if they are right', async () => {
  const early = listener()
  const { assets } = await loadEngineParts({ cacheFolder: folder, early })
  assert.deepEqual(early.heard, ['begin', 'prepare'])
  assert.equal(early.parts?.assets, assets)
})

test('what was prepared of assets of another build is discarded, but once', async () => {
  const own = join(folder, assetFileName(fingerprint))
  const other = join(folder, assetFileName('0'.repeat(32) as Fingerprint))
  // Of a cache the file that was used last is the likely one.
  copyFileSync(own, other)
  utimesSync(own, 1, 1)
  utimesSync(other, 2, 2)
  const early = listener()
  const { assets } = await loadEngineParts({ cacheFolder: folder, early })
  assert.deepEqual(early.heard, ['begin', 'prepare', 'discard'])
  assert.notEqual(early.parts?.assets, assets)
  const next = listener()
  await loadEngineParts({ cacheFolder: folder, early: next })
  assert.deepEqual(next.heard, ['begin', 'prepare'])
})

test('the version that clients are told is that of the module', async () => {
  const engine = await createEngine(parts, { clock: systemClock, random: systemRandom })
  const slot = await engine.createSlot()
  slot.boot(TenantFiles.inMemory({ template: engine.template, clock: systemClock }))
  assert.equal(valueOf(slot, 'show server_version'), POSTGRES_VERSION)
})
