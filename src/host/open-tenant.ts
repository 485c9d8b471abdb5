/** A store as the pool takes it: with the files that it holds, and its housekeeping. */
import type { Clock } from '../base/clock.ts'
import { LIMITS } from '../base/limits.ts'
import type { OpenTenant } from '../pool/tenant-source.ts'
import { MAIN } from '../store/keys.ts'
import type { Store } from '../store/store.ts'
import { TenantFiles, type TenantFilesOptions } from '../store/tenant-files.ts'
import type { FileView } from '../store/view.ts'

/** Bytes given back to the file system per slice of housekeeping. */
const COMPACT_SLICE_BYTES = 1_048_576
/** With less room than the largest commits take a store gives back what it can at once. */
const SCARCE_BYTES = 2 * LIMITS.dirtyBytesMax
/** Replaced pages for which a store that was closed is opened: 1 MiB of them, about. */
const WORTH_ROWS = 128

export interface OpenTenantOptions {
  readonly clock: Clock
  /** Of the engine: a store on another one is not pristine, however empty it is. */
  readonly templateId: string
  /** How much history is kept, unless the store has grown beyond what its files may have. */
  readonly retentionMs: number
  /** Default: those of `TenantFiles`. */
  readonly limits?: Omit<TenantFilesOptions, 'template' | 'clock'>
  readonly onClosed?: () => void
}

/** What the pool makes of a store, which is closed with it, or by a throw of this. */
export function openTenant(store: Store, options: OpenTenantOptions): OpenTenant {
  const { templateId, retentionMs, limits } = options
  const files = openFiles(store, options)
  const lacks = (bytes: number): boolean => limits?.disk?.hasRoom(bytes) === false
  return {
    files,
    stamp: () => store.stamp(),
    // Asked at each wake: a store that stayed open over a nap may have been written since.
    get pristine() {
      return store.head() === 0 && store.templateId === templateId
    },
    tidy: () => {
      // History is the first thing that there is no room for.
      const isFull = store.sizeBytes() > (limits?.databaseBytesMax ?? LIMITS.databaseBytesMax)
      const pruned = store.prune(isFull || lacks(0) ? 0 : retentionMs)
      if (pruned.more) return true
      if (store.compact(COMPACT_SLICE_BYTES) > 0) return true
      store.checkpoint()
      return false
    },
    get hasLittleRoom() {
      return lacks(SCARCE_BYTES)
    },
    get owesRoom() {
      return lacks(SCARCE_BYTES) && store.spareBytes() >= COMPACT_SLICE_BYTES
    },
    historyEndsMs: () => store.historyEndsMs(retentionMs),
    isWorthTidying: () => store.keepsMoreThan(WORTH_ROWS),
    readNotes: () => store.readNotes(),
    writeNotes: (notes) => store.writeNotes(notes),
    commitAhead: (work) => store.commitAhead(work),
    asCommitted: () => filesOf(store, store.view(MAIN, store.head()), options),
    close: () => {
      files.close()
      store.close()
      options.onClosed?.()
    },
  }
}

/** A store whose files cannot be read is closed: its lock would keep the tenant out for good. */
function openFiles(store: Store, options: OpenTenantOptions): TenantFiles {
  try {
    return filesOf(store, store.view(), options)
  } catch (error) {
    store.close()
    throw error
  }
}

function filesOf(
  { template }: Store,
  view: FileView,
  { clock, limits }: OpenTenantOptions,
): TenantFiles {
  return TenantFiles.open(view, { ...limits, template, clock })
}
