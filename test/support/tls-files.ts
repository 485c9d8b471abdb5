/**
 * Certificates for tests, and for nothing else: their private keys are public. Valid until 2126,
 * for localhost and loopback.
 *
 *     root ---- middle ---- server           other, pss, ed25519: signed by themselves;
 *                 \-- one file --/            pss: RSASSA-PSS with SHA-384
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TlsFiles } from '../../src/host/node/tls/identity.ts'

const path = (name: string): string => join(import.meta.dirname, 'tls', `test-only-${name}`)

export const SERVER_FILES: TlsFiles = {
  tlsCert: path('server-chain.crt'),
  tlsKey: path('server.key'),
}

const pairOf = (name: string): TlsFiles => ({
  tlsCert: path(`${name}.crt`),
  tlsKey: path(`${name}.key`),
})

export const OTHER_FILES: TlsFiles = pairOf('other')
export const PSS_FILES: TlsFiles = pairOf('pss')
export const ED25519_FILES: TlsFiles = pairOf('ed25519')

/** What clients of a server with `SERVER_FILES` are told to trust. */
export const ROOT_PATH: string = path('root.crt')
export const ROOT: string = readFileSync(ROOT_PATH, 'utf8')

/** Flags of `pgnap serve` for a pair of files. */
export function tlsFlags({ tlsCert, tlsKey }: TlsFiles = SERVER_FILES): string[] {
  return ['--tls-cert', tlsCert, '--tls-key', tlsKey]
}
