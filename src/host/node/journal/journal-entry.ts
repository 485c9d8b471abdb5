/**
 * One commit of one tenant as bytes of a journal. All numbers are varints.
 *
 *     length of the tenant's name, the name, id of the store (16 bytes), name of the owner (16),
 *     epoch, version, time, the commit (`src/store/packing.ts`)
 */
import { concatBytes, fromUtf8, utf8 } from '../../../base/bytes.ts'
import type { TenantName, Version } from '../../../base/ids.ts'
import { isTenantName } from '../../../router/tenant-name.ts'
import type { MadeCommit } from '../../../store/commit-journal.ts'
import { packCommit, unpackCommit } from '../../../store/packing.ts'
import { corrupt, putVarint, VarintReader } from '../../../store/varint.ts'

const ID_BYTES = 16

export interface JournalEntry {
  readonly tenant: TenantName
  readonly commit: MadeCommit
}

export function packEntry({ tenant, commit }: JournalEntry): Uint8Array<ArrayBuffer> {
  const { storeId, owner, epoch, version, atMs, changes } = commit
  const name = utf8(tenant)
  const length: number[] = []
  putVarint(length, name.length)
  const numbers: number[] = []
  for (const number of [epoch, version, atMs]) putVarint(numbers, number)
  return concatBytes([
    Uint8Array.from(length),
    name,
    Uint8Array.fromHex(storeId),
    Uint8Array.fromHex(owner),
    Uint8Array.from(numbers),
    packCommit(changes),
  ])
}

/** What {@link packEntry} has packed. Throws STORE_CORRUPT for anything else. */
export function unpackEntry(bytes: Uint8Array): JournalEntry {
  const head = new VarintReader(bytes)
  const nameBytes = head.next()
  const idAt = head.at + nameBytes
  const ownerAt = idAt + ID_BYTES
  const numbersAt = ownerAt + ID_BYTES
  if (numbersAt > bytes.length) throw corrupt('an entry of the journal ends early')
  const tenant = fromUtf8(bytes.subarray(head.at, idAt))
  if (!isTenantName(tenant)) throw corrupt('an entry of the journal is of no tenant')
  const numbers = new VarintReader(bytes, numbersAt)
  const [epoch, version, atMs] = [numbers.next(), numbers.next(), numbers.next()]
  const commit: MadeCommit = {
    storeId: bytes.subarray(idAt, ownerAt).toHex(),
    owner: bytes.subarray(ownerAt, numbersAt).toHex(),
    epoch,
    version: version as Version,
    atMs,
    changes: unpackCommit(bytes.subarray(numbers.at)),
  }
  return { tenant, commit }
}
