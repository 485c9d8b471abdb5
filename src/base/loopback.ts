/** Which addresses reach nothing but the machine they are used on. */

/** Four numbers: `127.example.com` is a name like any other, and somebody else's. */
const ADDRESS = /^127(?:\.\d{1,3}){3}$/

/** Whether a host, as it stands in a URL or without the brackets of IPv6, is this machine. */
export function isLoopback(host: string): boolean {
  const isName = host === 'localhost' || host.endsWith('.localhost')
  return isName || host === '::1' || host === '[::1]' || ADDRESS.test(host)
}
