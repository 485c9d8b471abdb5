/**
 * The Worker in front of the objects: takes requests, looks who asks, and hands each on to the
 * object of its tenant. It keeps nothing but what it has made of its settings.
 */
import type { Hono } from 'hono'
import { POSTGRES_VERSION } from '../../engine/recipe.ts'
import { createHttp } from '../../front/http/app.ts'
import { workerClock } from './clock.ts'
import { consoleLog } from './console-log.ts'
import type { Environment } from './environment.ts'
import { guardOf } from './guard.ts'
import { TenantControl } from './tenant-control.ts'

/** By environment: the platform gives one for as long as an isolate lives. */
const applications = new WeakMap<Environment, Hono>()

/** @param version of pgnap */
export function createWorker(version: string): ExportedHandler<Environment> {
  return {
    async fetch(request, environment, context): Promise<Response> {
      const known = applications.get(environment)
      const application = known ?? (await makeApplication(environment, version))
      applications.set(environment, application)
      return application.fetch(request, environment, context)
    },
  }
}

async function makeApplication(environment: Environment, version: string): Promise<Hono> {
  return createHttp({
    ...(await guardOf(environment)),
    control: new TenantControl(environment),
    clock: workerClock,
    log: consoleLog,
    version,
    serverVersion: POSTGRES_VERSION,
  })
}
