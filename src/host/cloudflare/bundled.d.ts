/**
 * What `scripts/cloudflare/bundle.ts` puts beside the program, as modules, and what of Node's API
 * the flag `nodejs_compat` gives a Worker.
 */
declare module 'pgnap:engine' {
  import type { EmscriptenFactory } from '../../engine/emscripten.ts'
  /** PGlite's glue, adapted. */
  export const factory: EmscriptenFactory
  export const module: WebAssembly.Module
  export const deltaCode: WebAssembly.Module
  /** `files.bin`. */
  export const bundle: ArrayBuffer
  /** `engine.bin`: under brotli. */
  export const assets: ArrayBuffer
}

declare module 'pgnap:modules' {
  /** By the name on its ticket. */
  export const libraries: ReadonlyMap<string, WebAssembly.Module>
  /** By its bytes, as numbers with commas. */
  export const functions: ReadonlyMap<string, WebAssembly.Module>
}

declare module 'pgnap:sql-js' {
  import type { SqlJsStatic } from 'sql.js'
  export default function initSqlJs(options: {
    instantiateWasm(
      imports: WebAssembly.Imports,
      done: (instance: WebAssembly.Instance) => void,
    ): unknown
  }): Promise<SqlJsStatic>
  export const code: WebAssembly.Module
}

declare module 'pgnap:version' {
  /** Of package.json. */
  export const version: string
}

declare module 'node:zlib' {
  export function gzipSync(bytes: Uint8Array): Uint8Array<ArrayBuffer>
  export function gunzipSync(bytes: Uint8Array): Uint8Array<ArrayBuffer>
  export function brotliDecompressSync(bytes: Uint8Array): Uint8Array<ArrayBuffer>
}

declare module 'node:crypto' {
  interface Hmac {
    update(text: string): Hmac
    digest(): Uint8Array & { readUInt32LE(at: number): number }
  }
  export function createHmac(algorithm: 'sha256', secret: Uint8Array): Hmac
}

declare module 'node:net' {
  export function isIPv6(address: string): boolean
}
