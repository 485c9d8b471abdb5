/**
 * `/pooled`: pgnap's own architecture, as the default Worker has it. An object per tenant owns its
 * store; one slot serves all objects of the isolate by memory images (docs/decisions/0024). Its
 * tenants are those of `/v1` and `/sql`.
 */
import { done, heard } from '../outcome.ts'
import type { Architecture, Ask, JsonBody, Served } from './architecture.ts'
import { askRemote, poolPhases } from './remote.ts'
import { onlyAtHome } from './strategies.ts'

export const pooled: Architecture = {
  what: 'an object per tenant, one slot for all objects of the isolate; tenants are those of /v1',
  durability: 'durable before it is answered: committed in the object, held by its output gate',
  query,
  status,
}

async function query({ environment, tenant, url, phases, statement }: Ask): Promise<Served> {
  onlyAtHome(url)
  const asked = await statement()
  return askRemote(phases, 'rpc', async () => {
    const { result, timings } = await done(
      environment.TENANTS.getByName(tenant).query(tenant, asked),
    )
    const notes = { wokenFrom: timings.wokenFrom }
    return {
      result: { result, servedBy: 'tenant-object', phases: poolPhases(timings), notes },
    }
  })
}

async function status({ environment, tenant }: Ask): Promise<JsonBody> {
  return (await heard(environment.TENANTS.getByName(tenant).show(tenant))) as JsonBody
}
