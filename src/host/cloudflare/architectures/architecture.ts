/**
 * What every architecture of the comparison has in common: a prefix under which it is reached, one
 * statement as a question, one shape of answer, and phases that tell where the time went. The table
 * of all of them is `routes.ts`; what is not an architecture's own (who may ask, bodies, errors) is
 * `app.ts`.
 *
 * Tenants of one architecture are not those of another, unless its `what` says so: the same name is
 * another database under each prefix.
 */
import type { Phases, PhaseTime } from '../../../base/phases.ts'
import type { TenantName } from '../../../base/ids.ts'
import type { Statement } from '../../../front/control.ts'
import type { ResultSet } from '../../../front/wire/result.ts'
import type { ArchitecturesEnvironment } from './environment.ts'

/** Who does not say which tenant means this one, as in the seeds. */
export const DEFAULT_TENANT = 'default'

/** What a request asks of an architecture. */
export interface Ask {
  readonly environment: ArchitecturesEnvironment
  /** Of the platform; lets work go on after the answer. */
  readonly waitUntil: (work: Promise<unknown>) => void
  /** Of the header X-Tenant-Id, or of the path; `default` without either. */
  readonly tenant: TenantName
  readonly url: URL
  /** Of this request. */
  readonly phases: Phases
  /** The statement in its body. @throws PgnapError REQUEST_INVALID if there is none */
  readonly statement: () => Promise<Statement>
  /** Its parameters as the body has them, for who takes more than text. */
  readonly values: () => Promise<readonly unknown[]>
}

/** What a statement is answered. */
export interface Served {
  readonly result: ResultSet
  /** Who has run it: `tenant-object`, `compute-worker`, ... */
  readonly servedBy: string
  /** What else there is to say, shown with the result. Must be data. Default: nothing */
  readonly notes?: Readonly<Record<string, unknown>>
}

/** The same from another object or Worker, with what it has measured. */
export interface RemoteServed extends Served {
  readonly phases: readonly PhaseTime[]
}

/** Anything that JSON can hold; written as the answer's body. */
export type JsonBody = Readonly<Record<string, unknown>>

export interface Endpoint {
  readonly method: 'GET' | 'POST'
  /** One line for who asks what there is. */
  readonly what: string
  readonly answer: (ask: Ask) => Promise<JsonBody>
}

export interface Architecture {
  /** What it is, in one line. */
  readonly what: string
  /** What an acknowledged write survives, in one line. */
  readonly durability: string
  /** Of `POST query`, and of `POST timing`, which tells the phases as well. Default: neither */
  readonly query?: (ask: Ask) => Promise<Served>
  /**
   * Whether there is such a tenant, which asking does not make: one that there is not is not kept
   * warm. Default: tenants of it are not kept warm
   */
  readonly exists?: (of: Pick<Ask, 'environment' | 'tenant'>) => Promise<boolean>
  /** Of `GET status`. */
  readonly status?: (ask: Ask) => Promise<JsonBody>
  /** Others, by their name behind the prefix; `` is the prefix itself. */
  readonly endpoints?: Readonly<Record<string, Endpoint>>
}
