/** `pgnap inspect TENANT`: what is in a store, without waking the tenant. */
import type { Command } from 'commander'
import { formatFacts } from './facts.ts'
import { addStoreVerb } from './store-verb.ts'
import type { Terminal } from './terminal.ts'

/** Adds the verb. */
export function addInspect(program: Command, terminal: Terminal): void {
  addStoreVerb(program, terminal, {
    name: 'inspect',
    description: 'look inside the store of a tenant',
    note: 'It opens the store itself, so no server may hold the data folder.',
    run: async (config, tenant) => {
      const { inspectTenant } = await import('../host/node/inspect.ts')
      return inspectTenant(config, tenant)
    },
    text: formatFacts,
  })
}
