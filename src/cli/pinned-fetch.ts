/**
 * `fetch` for a server of this machine whose certificate we know from its data folder. Such a
 * server is asked by an address (127.0.0.1) that its certificate need not name, and the certificate
 * may be signed by nobody this machine trusts. So the question is not who signed it and for which
 * name, but whether it is that one certificate: it is the only one trusted here, compared as a
 * whole, and TLS proves that the server has its key. Node's own `fetch` cannot be told this.
 */
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { request, type RequestOptions } from 'node:https'

/** The part of `fetch` that a verb needs. */
export type Fetch = (
  url: URL,
  init: {
    readonly method: string
    readonly headers: Headers
    readonly body?: string
    readonly signal?: AbortSignal
  },
) => Promise<Response>

/**
 * What a connection of TLS trusts that is to reach this one server.
 * @param certificate the server's own, in PEM
 */
export function pinnedTrust(certificate: string): RequestOptions {
  const expected = new X509Certificate(certificate)
  return {
    ca: certificate,
    // It may have been signed by another, which is of no matter here.
    allowPartialTrustChain: true,
    checkServerIdentity: (_name, { raw }) =>
      raw.equals(expected.raw)
        ? undefined
        : new Error('the server shows another certificate than its data folder tells'),
  }
}

/** @param certificate as of {@link pinnedTrust} */
export function pinnedFetch(certificate: string): Fetch {
  const trust = pinnedTrust(certificate)
  return async (url, { method, headers, body, signal }) => {
    const own = { method, headers: Object.fromEntries(headers), ...(signal ? { signal } : {}) }
    const asked = request(url, { ...trust, ...own })
    asked.end(body)
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    const chunks: Buffer[] = []
    for await (const chunk of answer) chunks.push(chunk as Buffer)
    const status = answer.statusCode ?? 0
    const content = Buffer.concat(chunks)
    return new Response(content.length === 0 ? null : content, { status })
  }
}
