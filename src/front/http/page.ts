/**
 * The page at `/`: what this server is and how to connect, readable without JavaScript; with it,
 * the pool's numbers and the first tenants out of the JSON API.
 *
 * Everything is in the one document: no asset, no framework, no request to anywhere else. Data
 * enters the page as text nodes only, so a tenant's name can never become markup.
 */

export interface PageFacts {
  readonly version: string
  readonly serverVersion: string
  /** As whoever looks at the page has asked for it. */
  readonly url: URL
  /** Where the Postgres protocol is spoken, on the same host. Undefined: nowhere. */
  readonly wirePort: number | undefined
}

/** The page's Content-Security-Policy: nothing from elsewhere, and in nobody's frame. */
export const PAGE_POLICY: string = [
  "default-src 'none'",
  "style-src 'unsafe-inline'",
  "script-src 'unsafe-inline'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const STYLE = `
:root { color-scheme: light dark;
  --text: #1c2024; --soft: #60646c; --line: #e0e1e6; --back: #fcfcfd; --mark: #12a594 }
@media (prefers-color-scheme: dark) {
  :root { --text: #edeef0; --soft: #b0b4ba; --line: #363a3f; --back: #111113; --mark: #0bd8b6 }
}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 3rem 1.25rem; max-width: 52rem;
  background: var(--back); color: var(--text);
  font: 1rem/1.55 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.75rem; letter-spacing: -0.02em }
h2 { margin: 2.5rem 0 0.75rem; font-size: 1rem }
p { margin: 0.5rem 0 }
.soft { color: var(--soft) }
pre { padding: 0.9rem 1rem; overflow-x: auto; border: 1px solid var(--line); border-radius: 8px }
code, pre, td.number { font: 0.875rem/1.6 ui-monospace, monospace;
  font-variant-numeric: tabular-nums }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr));
  gap: 0.75rem; margin: 0 }
dl div { padding: 0.75rem 1rem; border: 1px solid var(--line); border-radius: 8px }
dt { color: var(--soft); font-size: 0.8125rem }
dd { margin: 0; font-size: 1.375rem; font-variant-numeric: tabular-nums }
table { width: 100%; border-collapse: collapse }
th, td { padding: 0.4rem 0.75rem 0.4rem 0; border-bottom: 1px solid var(--line); text-align: left }
th { color: var(--soft); font-size: 0.8125rem; font-weight: 500 }
td.number, th.number { text-align: right }
.awake { color: var(--mark) }
a { color: inherit }
`

const SCRIPT = `
const $ = (id) => document.getElementById(id)
const bytes = (count) => count < 1024 ? count + ' B'
  : count < 1048576 ? (count / 1024).toFixed(0) + ' KiB' : (count / 1048576).toFixed(1) + ' MiB'
const element = (tag, text, className = '') =>
  Object.assign(document.createElement(tag), { textContent: text, className })
function figure(title, value) {
  const box = document.createElement('div')
  box.append(element('dt', title), element('dd', value))
  return box
}
async function read(path) {
  const answer = await fetch(path)
  const body = await answer.json()
  if (!answer.ok) throw new Error(body.error.message)
  return body
}
async function refresh() {
  try {
    const [pool, list] = await Promise.all([read('/v1/pool'), read('/v1/tenants?limit=50')])
    $('figures').replaceChildren(
      figure('tenants awake', pool.tenants.awake + ' of ' + pool.slots.total + ' slots'),
      figure('clients', pool.clients),
      figure('requests', pool.requests),
      figure('found awake', (pool.hitRate * 100).toFixed(1) + ' %'),
      figure('nap to awake p50', pool.wakes.napping.p50Ms.toFixed(1) + ' ms'),
      figure('memory of slots', bytes(pool.memoryBytes)))
    $('tenants').replaceChildren(...list.tenants.map((tenant) => {
      const row = document.createElement('tr')
      row.append(element('td', tenant.name),
        element('td', tenant.error ? tenant.error.code : tenant.state, tenant.state),
        element('td', tenant.clients, 'number'),
        element('td', 'storeBytes' in tenant ? bytes(tenant.storeBytes) : '', 'number'))
      return row
    }))
    $('status').textContent = list.tenants.length === 0
      ? 'No tenants yet: connect to one and it is there.'
      : list.next ? 'The first ' + list.tenants.length + ' tenants.' : ''
  } catch (error) {
    $('status').textContent = 'The numbers cannot be read: ' + error.message
  }
}
refresh()
setInterval(() => document.hidden || refresh(), 2000)
`

/** The page as HTML. */
export function startPage({ version, serverVersion, url, wirePort }: PageFacts): string {
  const { origin, hostname } = url
  const psql =
    wirePort === undefined
      ? ''
      : `<pre>psql postgres://${escapeHtml(hostname)}:${wirePort}/acme</pre>
<p>The database in the URL is the tenant.</p>
`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>pgnap</title>
<style>${STYLE}</style>
</head>
<body>
<h1>pgnap</h1>
<p>A Postgres for every tenant: databases sleep as small SQLite files and wake when asked.</p>
<p class="soft">pgnap ${escapeHtml(version)}, Postgres ${escapeHtml(serverVersion)}</p>
<h2>Connect</h2>
${psql}<p>Over HTTP:</p>
<pre>curl ${escapeHtml(origin)}/v1/tenants/acme/query -d '{"sql": "select 1 as one"}'</pre>
<p>The same numbers for programs:
<a href="/v1/pool">/v1/pool</a>, <a href="/v1/tenants">/v1/tenants</a>,
<a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>.</p>
<h2>Pool</h2>
<dl id="figures"></dl>
<h2>Tenants</h2>
<table>
<thead><tr><th>name</th><th>state</th>
<th class="number">clients</th><th class="number">store</th></tr></thead>
<tbody id="tenants"></tbody>
</table>
<p class="soft" id="status">
<noscript>Live numbers need JavaScript; the links above do not.</noscript></p>
<script>${SCRIPT}</script>
</body>
</html>
`
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
