/** The HTTP front over a control that answers what a test says. */
import type { Hono } from 'hono'
import { ManualClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { createHttp, type HttpOptions } from '../../src/front/http/app.ts'
import { FakeControl } from './fake-control.ts'

export type Json = Record<string, unknown>

export function open(options: Partial<HttpOptions> = {}): { control: FakeControl; app: Hono } {
  const control = new FakeControl()
  const common = {
    clock: new ManualClock(),
    log: silentLog,
    version: '1.2.3',
    serverVersion: '18.1',
  }
  return { control, app: createHttp({ control, ...common, ...options }) }
}

export const CONNECTION = 'postgres://user:p%40ss@db.example.com/acme?sslmode=require'

export function post(body: unknown, headers: Record<string, string> = {}): RequestInit {
  return { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), headers }
}

export function neon(body: unknown, headers: Record<string, string> = {}): RequestInit {
  return post(body, { 'Neon-Connection-String': CONNECTION, ...headers })
}

export async function json(answer: Response): Promise<Json> {
  return (await answer.json()) as Json
}

export async function codeOf(answer: Response): Promise<[number, unknown]> {
  return [answer.status, ((await json(answer))['error'] as Json)['code']]
}
