/** Compares every tenant of a running server with its ledger, and has Postgres examine it. */
import { examine } from './amcheck.ts'
import { judgeBank, judgeDomain, stepsReached } from './judge.ts'
import type { DomainLedger, DomainState, TenantLedger } from './ledger.ts'
import { observe, type Observed } from './observe.ts'
import type { Tally } from './tally.ts'
import { WireClient } from './wire-client.ts'

/** Tenants examined at once: a slot each, or they would evict each other at every message. */
const CONCURRENCY = 2
const NOTHING: DomainState = { tables: new Map(), sequence: undefined }

export interface CheckOptions {
  readonly port: number
  readonly tenants: ReadonlyMap<string, TenantLedger>
  readonly tally: Tally
}

/** Problems of all tenants. Ledgers of sound tenants adopt what was found. */
export async function checkTenants(options: CheckOptions): Promise<readonly string[]> {
  const waiting = [...options.tenants]
  const problems: string[] = []
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      problems.push(...(await checkTenant(options, ...next)))
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
  return problems
}

async function checkTenant(
  { port, tally }: CheckOptions,
  tenant: string,
  ledger: TenantLedger,
): Promise<readonly string[]> {
  try {
    const wire = await WireClient.open(port, tenant)
    const found = await observe(wire)
    const problems = judge(ledger, found, tally).map((problem) => `${tenant}: ${problem}`)
    const { problems: damage, relationCount } = await examine(wire)
    wire.close()
    tally.tenantChecks++
    tally.rowsCompared += found.rowCount
    tally.relationsExamined += relationCount
    return [...problems, ...damage.map((problem) => `${tenant}: ${problem}`)]
  } catch (error) {
    return [`${tenant} cannot be read: ${error instanceof Error ? error.message : String(error)}`]
  }
}

/** Problems of one tenant; without any, its ledger adopts what was found. */
export function judge(ledger: TenantLedger, found: Observed, tally: Tally): readonly string[] {
  const problems = found.strays.map((name) => `${name} belongs to nobody`)
  for (const client of found.domains.keys()) {
    if (!ledger.domains.has(client)) problems.push(`client ${client} has never been here`)
  }
  problems.push(...judgeBank(ledger.bank, found.bank))
  for (const [client, domain] of ledger.domains) {
    problems.push(...judgeDomain(domain, found.domains.get(client) ?? NOTHING))
  }
  if (problems.length > 0) return problems
  for (const [client, domain] of ledger.domains) {
    adoptDomain(domain, found.domains.get(client) ?? NOTHING, tally)
  }
  for (const id of ledger.bank.uncertain.keys()) {
    if (found.bank.journal?.has(id)) tally.unansweredKept++
    else tally.unansweredGone++
  }
  ledger.bank.adopt(found.bank.journal)
  return []
}

function adoptDomain(domain: DomainLedger, found: DomainState, tally: Tally): void {
  const reached = stepsReached(domain, found)
  tally.unansweredKept += reached
  tally.unansweredGone += domain.possible.length - 1 - reached
  domain.adopt(found)
}
