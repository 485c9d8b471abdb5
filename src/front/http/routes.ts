/**
 * Every route in one table, for the answer to a request that meets none of them: 404 with the
 * nearest routes, or 405 where only the method is wrong. A test asks each of them, so that the
 * table stays true.
 */
import type { Context } from 'hono'
import { PgnapError } from '../../base/errors.ts'

/** Methods of each path; `:name` and the like stand for one segment. */
export const ROUTES: Readonly<Record<string, readonly string[]>> = {
  '/': ['GET'],
  '/sql': ['POST', 'OPTIONS'],
  '/v2': ['GET'],
  '/v1/tenants': ['GET', 'POST'],
  '/v1/tenants/:name': ['GET', 'DELETE'],
  '/v1/tenants/:name/query': ['POST'],
  '/v1/tenants/:name/nap': ['POST'],
  '/v1/tenants/:name/wake': ['POST'],
  '/v1/tenants/:name/pin': ['POST'],
  '/v1/tenants/:name/unpin': ['POST'],
  '/v1/tenants/:name/bookmark': ['GET'],
  '/v1/tenants/:name/restore': ['POST'],
  '/v1/tenants/:name/roles': ['GET'],
  '/v1/tenants/:name/roles/:role/rotate': ['POST'],
  '/v1/tenants/:name/roles/:role/revoke': ['POST'],
  '/v1/pool': ['GET'],
  '/metrics': ['GET'],
  '/healthz': ['GET'],
  '/readyz': ['GET'],
}

const SUGGESTIONS = 3
/** Longer paths are cut for the comparison, whose time grows with both lengths. */
const COMPARED_CHARS_MAX = 100

/** The error for a request that no route takes; sets Allow where another method would do. */
export function unknownRoute(context: Context): PgnapError {
  const { method, path } = context.req
  const methods = Object.entries(ROUTES).find(([route]) => matches(route, path))?.[1]
  if (methods) {
    context.header('Allow', methods.join(', '))
    return new PgnapError('METHOD_NOT_ALLOWED', `${method} is not allowed on ${path}`, {
      hint: `use ${methods.join(' or ')}`,
    })
  }
  return new PgnapError('ROUTE_UNKNOWN', `there is no route ${path}`, {
    hint: `did you mean ${nearestRoutes(path).join(', ')}?`,
  })
}

/** The routes most like `path`, as `GET /v1/pool`. */
export function nearestRoutes(path: string): string[] {
  const short = path.slice(0, COMPARED_CHARS_MAX)
  return Object.entries(ROUTES)
    .map(([route, methods]) => ({ route, methods, distance: editDistance(short, route) }))
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, SUGGESTIONS)
    .map(({ route, methods }) => `${methods.join('|')} ${route}`)
}

function matches(route: string, path: string): boolean {
  const expected = route.split('/')
  const given = path.split('/')
  return (
    expected.length === given.length &&
    expected.every((part, index) => part === given[index] || (part.startsWith(':') && given[index]))
  )
}

/** Levenshtein's distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
