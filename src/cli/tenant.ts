/**
 * `pgnap tenant create|list|show|delete|nap|wake|pin|unpin|roles|rotate|revoke`: tenants of a
 * running server or of a data folder, and who may use them.
 */
import type { Command } from 'commander'
import { LIMITS } from '../base/limits.ts'
import { formatFacts, formatFactsTable } from './facts.ts'
import { type Facts, type TenantServer, addTarget, openTarget } from './target.ts'
import type { Terminal } from './terminal.ts'

const EXAMPLES = `
Examples:
  pgnap tenant create acme
  pgnap tenant create acme-staging --template acme
  pgnap tenant list --json
  pgnap tenant nap acme --url http://127.0.0.1:6480
  pgnap tenant delete acme
`

interface OneTenantVerb {
  readonly name: string
  readonly description: string
  /** Its own option, which takes a name. */
  readonly option?: { readonly name: string; readonly text: string }
  /** Whether it makes the data folder, too, if that is missing. */
  readonly makesFolder?: true
  readonly run: (
    target: TenantServer,
    tenant: string,
    option?: string,
  ) => Promise<Facts | undefined>
}

const ONE_TENANT_VERBS: readonly OneTenantVerb[] = [
  {
    name: 'create',
    description: 'make a tenant and its first role, whose password is shown this once',
    option: { name: 'template', text: 'the tenant whose copy it is to be; default: it is empty' },
    makesFolder: true,
    run: (target, tenant, template) => target.createTenant(tenant, template),
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
    .description('make, list, show, delete and move tenants, and say who may use them')
    .addHelpText('after', EXAMPLES)
  for (const verb of ONE_TENANT_VERBS) addOneTenantVerb(tenant, verb, terminal)
  addRoleVerbs(tenant, terminal)
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
  const { option } = verb
  if (option) command.option(`--${option.name} <tenant>`, option.text)
  command.action(async (name: string) => {
    const mayMake = (): boolean => verb.makesFolder === true
    await using target = await openTarget(command, terminal, { mayMake })
    const value = option && (command.getOptionValue(option.name) as string | undefined)
    const facts = await verb.run(target, name, value)
    if (command.getOptionValue('json') === true) {
      terminal.out(`${JSON.stringify(facts ?? { name, deleted: true })}\n`)
    } else {
      terminal.out(facts ? formatFacts(facts) : `${name} is deleted\n`)
    }
  })
}

function addRoleVerbs(tenant: Command, terminal: Terminal): void {
  const verbs: readonly RoleVerb[] = [
    {
      name: 'roles',
      description: 'who may use a tenant, beside administrators',
      run: async (target, name) => {
        const roles = await target.rolesOf(name)
        return { json: roles, text: roles.length > 0 ? formatFactsTable(roles) : 'no roles yet\n' }
      },
    },
    {
      name: 'rotate',
      description: 'give a role a new password, shown this once; makes the role if needed',
      role: { text: 'the role; default: the name of the tenant', isRequired: false },
      run: async (target, name, role = name) => {
        const granted = await target.rotateRole(name, role)
        return { json: granted, text: formatFacts(granted) }
      },
    },
    {
      name: 'revoke',
      description: 'end a role and its connections',
      role: { text: 'the role', isRequired: true },
      run: async (target, name, role = name) => {
        await target.revokeRole(name, role)
        return { json: { tenant: name, role, revoked: true }, text: `${role} is revoked\n` }
      },
    },
  ]
  for (const verb of verbs) addRoleVerb(tenant, verb, terminal)
}

interface RoleVerb {
  readonly name: string
  readonly description: string
  /** What its option `--role` is, if it has one. */
  readonly role?: { readonly text: string; readonly isRequired: boolean }
  readonly run: (target: TenantServer, tenant: string, role?: string) => Promise<Said>
}

interface Said {
  readonly json: object
  readonly text: string
}

function addRoleVerb(tenant: Command, verb: RoleVerb, terminal: Terminal): void {
  const words = verb.role ? ' --role app' : ''
  const command = addTarget(
    tenant
      .command(verb.name)
      .description(verb.description)
      .argument('<name>', 'the tenant')
      .option('--json', 'print JSON')
      .addHelpText('after', `\nExample:\n  pgnap tenant ${verb.name} acme${words}\n`),
  )
  if (verb.role?.isRequired) command.requiredOption('--role <role>', verb.role.text)
  else if (verb.role) command.option('--role <role>', verb.role.text)
  command.action(async (name: string) => {
    await using target = await openTarget(command, terminal)
    const role = command.getOptionValue('role') as string | undefined
    const { json, text } = await verb.run(target, name, role)
    terminal.out(command.getOptionValue('json') === true ? `${JSON.stringify(json)}\n` : text)
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
