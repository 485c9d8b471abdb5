import type { Config } from './config.ts'

/** Where a server with this configuration is reached from its own machine. */
export function localUrl({
  host,
  httpPort,
  tlsCert,
}: Pick<Config, 'host' | 'httpPort' | 'tlsCert'>): string {
  const near = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  const scheme = tlsCert === undefined ? 'http' : 'https'
  return `${scheme}://${near.includes(':') ? `[${near}]` : near}:${httpPort}`
}
