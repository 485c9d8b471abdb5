/**
 * `pgnap tenant create|list|show|delete|nap|wake|pin|unpin`: tenants of a running server or of a
 * data folder.
 */
import type { Command } from 'commander'
import { LIMITS } from '../base/limits.ts'
import { formatFacts, formatFactsTable } from './facts.ts'
import { type Facts, type TenantServer, addTarget, openTarget } from './target.ts'
import type { Terminal } from './terminal.ts'

const EXAMPLES = `
Examples:
  pgnap tenant create acme
  pgnap tenant list --json
  pgnap tenant nap acme --url http://127.0.0.1:6480
  pgnap tenant delete acme
`

interface OneTenantVerb {
  readonly name: string
  readonly description: string
  readonly run: (target: TenantServer, tenant: string) => Promise<Facts | undefined>
}

const ONE_TENANT_VERBS: readonly OneTenantVerb[] = [
  {
    name: 'create',
    description: 'make a tenant; fails if it exists',
    run: (target, tenant) => target.createTenant(tenant),
  },
  {
    name: 'show',
    description: 'facts about one tenant',
    run: (target, tenant) => target.showTenant(tenant),
  },
  {
    name: 'delete',
    description: 'remove a tenant and its data; there is no way back',
    run: async (target, tenant) => {
      await target.deleteTenant(tenant)
      return undefined
    },
  },
  {
    name: 'nap',
    description: 'take a tenant out of its slot; fails while a client is in a transaction',
    run: (target, tenant) => target.napTenant(tenant),
  },
  {
    name: 'wake',
    description: 'load a tenant before it is asked for',
    run: (target, tenant) => target.wakeTenant(tenant),
  },
  {
    name: 'pin',
    description: 'keep its image in memory, so that it never wakes from disk',
    run: (target, tenant) => target.pinTenant(tenant),
  },
  {
    name: 'unpin',
    description: 'let its image leave memory as others do',
    run: (target, tenant) => target.unpinTenant(tenant),
  },
]

/** Adds the verb. */
export function addTenant(program: Command, terminal: Terminal): void {
  const tenant = program
    .command('tenant')
    .description('create, list, show, delete, nap, wake, pin and unpin tenants')
    .addHelpText('after', EXAMPLES)
  for (const verb of ONE_TENANT_VERBS) addOneTenantVerb(tenant, verb, terminal)
  const list = addTarget(
    tenant
      .command('list')
      .description('all tenants in order of their names')
      .option('--json', 'print one JSON array')
      .addHelpText('after', '\nExamples:\n  pgnap tenant list\n  pgnap tenant list --json\n'),
  )
  list.action(async () => {
    await using target = await openTarget(list, terminal)
    const tenants = await allTenants(target)
    if (list.getOptionValue('json') === true) terminal.out(`${JSON.stringify(tenants)}\n`)
    else if (tenants.length > 0) terminal.out(formatFactsTable(tenants))
    else terminal.complain('no tenants yet; make one with: pgnap tenant create NAME\n')
  })
}

function addOneTenantVerb(tenant: Command, verb: OneTenantVerb, terminal: Terminal): void {
  const command = addTarget(
    tenant
      .command(verb.name)
      .description(verb.description)
      .argument('<name>', 'the tenant')
      .option('--json', 'print one JSON object')
      .addHelpText('after', `\nExample:\n  pgnap tenant ${verb.name} acme\n`),
  )
  command.action(async (name: string) => {
    await using target = await openTarget(command, terminal)
    const facts = await verb.run(target, name)
    if (command.getOptionValue('json') === true) {
      terminal.out(`${JSON.stringify(facts ?? { name, deleted: true })}\n`)
    } else {
      terminal.out(facts ? formatFacts(facts) : `${name} is deleted\n`)
    }
  })
}

/** Page by page, so that no answer grows with the number of tenants. */
async function allTenants(target: TenantServer): Promise<Facts[]> {
  const limit = LIMITS.tenantsPerPageMax
  const all: Facts[] = []
  let after: string | undefined
  do {
    const page = await target.listTenants({ limit, ...(after === undefined ? {} : { after }) })
    all.push(...page.tenants)
    after = page.next
  } while (after !== undefined)
  return all
}
