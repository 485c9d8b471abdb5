/**
 * `/v1`: tenants and the pool as a JSON API, and queries for programs that want no driver at all.
 * docs/http-api.md describes it request by request.
 */
import { Hono } from 'hono'
import { PgnapError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Bookmarks, Control } from '../control.ts'
import {
  encodeParameters,
  jsonReaders,
  readRowArrays,
  readRowObjects,
  textReaders,
} from '../values.ts'
import { STATEMENT_ANSWER_BYTES_MAX, checkRows, jsonAnswer, queryAnswer } from './answers.ts'
import { signalOf } from './body-hold.ts'
import {
  optionalFlag,
  optionalList,
  optionalText,
  queryNumber,
  readJsonObject,
  requiredText,
} from './request.ts'

/** Tenants of one page unless the request says otherwise. */
const PAGE_TENANTS = 100

/** The routes, to be mounted at `/v1`. */
export function adminRoutes(control: Control): Hono {
  const routes = new Hono()
  addTenantRoutes(routes, control)
  addRoleRoutes(routes, control)
  addQueryRoute(routes, control)
  addBookmarkRoutes(routes, () => control.bookmarks ?? NO_BOOKMARKS)
  routes.get('/pool', async (context) => jsonAnswer(context, await control.pool()))
  return routes
}

function addTenantRoutes(routes: Hono, control: Control): void {
  routes.get('/tenants', async (context) => {
    const range = { otherwise: PAGE_TENANTS, max: LIMITS.tenantsPerPageMax }
    const limit = queryNumber(context, 'limit', range)
    const after = context.req.query('after')
    const page = { limit, ...(after === undefined ? {} : { after }) }
    const { tenants, next = null } = await control.listTenants(page)
    return jsonAnswer(context, { tenants, next })
  })
  routes.post('/tenants', async (context) => {
    const body = await readJsonObject(context)
    const name = requiredText(body, 'name', '{"name": "acme"}')
    const template = optionalText(body, 'template')
    const tenant = await control.createTenant(name, template)
    context.header('Cache-Control', 'no-store')
    context.header('Location', `/v1/tenants/${encodeURIComponent(tenant.name)}`)
    return jsonAnswer(context, tenant, 201)
  })
  routes.get('/tenants/:name', async (context) =>
    jsonAnswer(context, await control.showTenant(context.req.param('name'))),
  )
  routes.delete('/tenants/:name', async (context) => {
    await control.deleteTenant(context.req.param('name'))
    return context.body(null, 204)
  })
  routes.post('/tenants/:name/nap', async (context) =>
    jsonAnswer(context, await control.napTenant(context.req.param('name'))),
  )
  routes.post('/tenants/:name/wake', async (context) =>
    jsonAnswer(context, await control.wakeTenant(context.req.param('name'))),
  )
  routes.post('/tenants/:name/pin', async (context) =>
    jsonAnswer(context, await control.pinTenant(context.req.param('name'))),
  )
  routes.post('/tenants/:name/unpin', async (context) =>
    jsonAnswer(context, await control.unpinTenant(context.req.param('name'))),
  )
}

/** Where no platform keeps what storages were. */
const NO_BOOKMARKS: Bookmarks = { bookmarkOf: keepsNone, restoreTenant: keepsNone }

async function keepsNone(): Promise<never> {
  throw new PgnapError('NOT_SUPPORTED', 'this server keeps no bookmarks of its tenants', {
    hint: 'restore a dump, or copy the data folder from time to time',
  })
}

/** A bookmark is of one moment. */
function addBookmarkRoutes(routes: Hono, bookmarks: () => Bookmarks): void {
  routes.get('/tenants/:name/bookmark', async (context) => {
    const at = context.req.query('at')
    context.header('Cache-Control', 'no-store')
    return jsonAnswer(context, await bookmarks().bookmarkOf(context.req.param('name'), at))
  })
  routes.post('/tenants/:name/restore', async (context) => {
    const body = await readJsonObject(context)
    const bookmark = requiredText(body, 'bookmark', '{"bookmark": "0000007b-..."}')
    const tenant = context.req.param('name')
    const { bookmark: undo } = await bookmarks().restoreTenant(tenant, bookmark)
    context.header('Cache-Control', 'no-store')
    return jsonAnswer(context, { restored: bookmark, undo })
  })
}

/** An answer with a password in it is not to be kept on its way. */
function addRoleRoutes(routes: Hono, control: Control): void {
  routes.get('/tenants/:name/roles', async (context) => {
    const roles = await control.rolesOf(context.req.param('name'))
    return jsonAnswer(context, { roles })
  })
  routes.post('/tenants/:name/roles/:role/rotate', async (context) => {
    const { name, role } = context.req.param()
    const granted = await control.rotateRole(name, role)
    context.header('Cache-Control', 'no-store')
    return jsonAnswer(context, granted)
  })
  routes.post('/tenants/:name/roles/:role/revoke', async (context) => {
    const { name, role } = context.req.param()
    await control.revokeRole(name, role)
    return context.body(null, 204)
  })
}

function addQueryRoute(routes: Hono, control: Control): void {
  routes.post('/tenants/:name/query', async (context) => {
    const tenant = context.req.param('name')
    const body = await readJsonObject(context, tenant)
    const sql = requiredText(body, 'sql', '{"sql": "select $1::int", "params": [1]}')
    const parameters = encodeParameters(optionalList(body, 'params'))
    const readers = optionalFlag(body, 'rawText') ? textReaders : jsonReaders
    const arrayMode = optionalFlag(body, 'arrayMode') ?? false
    const readRows = arrayMode ? readRowArrays : readRowObjects
    const signal = signalOf(context)
    const statement = { sql, parameters, answerBytesMax: STATEMENT_ANSWER_BYTES_MAX }
    const answer = await control.query(tenant, statement, signal)
    checkRows([{ result: answer.result, arrayMode }])
    return queryAnswer(context, answer, readRows(answer.result, readers))
  })
}
