/**
 * Names and numbers that must never be mixed up, as branded types. A brand is given in one place,
 * by the function that checked the value.
 */
declare const brand: unique symbol
type Brand<Base, Name extends string> = Base & { readonly [brand]: Name }

/** A tenant's name: `[a-z0-9][a-z0-9_-]{0,62}`. Given by `parseTenantName` in the router. */
export type TenantName = Brand<string, 'TenantName'>
/** Commit counter of one layer of a store. The empty store is at version 0. */
export type Version = Brand<number, 'Version'>
/** A line of versions inside one store; main is layer 0. Never reused. */
export type LayerId = Brand<number, 'LayerId'>
/** Key of one record or page in a store's map: an integer in [0, 2^44). */
export type PageKey = Brand<number, 'PageKey'>
/** Inode number of a file in a tenant's tree. Never reused inside a layer. */
export type InodeNo = Brand<number, 'InodeNo'>
/** Index of a shard in [0, shard count). */
export type ShardIndex = Brand<number, 'ShardIndex'>
/** Identifies one exact engine build; hex. */
export type Fingerprint = Brand<string, 'Fingerprint'>
