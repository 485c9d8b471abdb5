/**
 * What the seeds have published of each architecture, in their own words. They were measured in
 * production, over the network, with stock PGlite, so they compare with nothing that is measured
 * here; they are what was known before.
 */

export interface PublishedFigure {
  readonly what: string
  readonly figure: string
  /** Number of the seed. */
  readonly seed: string
}

export const PUBLISHED: Readonly<Record<string, readonly PublishedFigure[]>> = {
  traditional: [
    { what: 'cold start', figure: '1-3 s', seed: '002' },
    { what: 'cold, own object', figure: '3.52 s', seed: '001' },
    { what: 'hot query', figure: '10 ms', seed: '002' },
  ],
  hybrid: [
    { what: 'cold start', figure: '30 ms', seed: '002' },
    { what: 'hot query', figure: '10 ms', seed: '002' },
  ],
  thin: [
    { what: 'cold start', figure: '30 ms', seed: '002' },
    { what: 'hot query', figure: '30 ms', seed: '002' },
  ],
  'lazy-wasm': [
    { what: 'cold start', figure: '500 ms', seed: '002' },
    { what: 'warm', figure: '100-150 ms', seed: '002' },
  ],
  factory: [
    { what: 'new object', figure: '3.38 s', seed: '001' },
    { what: 'warm, for a cold consumer', figure: '418 ms', seed: '001' },
    { what: 'warm', figure: '310 ms', seed: '001' },
  ],
  consumer: [
    { what: 'direct, cold', figure: '2,964 ms', seed: '001' },
    { what: 'direct, warm', figure: '330 ms', seed: '001' },
  ],
  'warm-proxy': [
    { what: 'first request', figure: '3.37 s', seed: '001' },
    { what: 'subsequent', figure: '370 ms', seed: '001' },
  ],
  ws: [{ what: 'saved per message, against HTTP', figure: '10-20 ms', seed: '003' }],
  pooled: [
    { what: 'swap of a tenant', figure: '100-500 ms', seed: '000' },
    { what: 'new instance', figure: '2 s', seed: '000' },
  ],
  sqlite: [
    { what: 'load of 100 KB', figure: '50-70 ms', seed: '004' },
    { what: 'save of 100 KB', figure: '40-60 ms', seed: '004' },
  ],
}
