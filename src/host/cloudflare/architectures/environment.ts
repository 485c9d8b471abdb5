/** What the Worker of the comparison is given to run with; see wrangler.architectures.jsonc. */
import type { Environment } from '../environment.ts'
import type { ComputeObject } from './compute-object.ts'
import type { Compute } from './compute-worker.ts'
import type { LazyObject } from './lazy-object.ts'
import type { ConsumerObject } from './consumer-object.ts'
import type { Factory } from './factory-worker.ts'
import type { HybridObject } from './hybrid-object.ts'
import type { RouterObject } from './router-object.ts'
import type { StateObject } from './state-object.ts'
import type { TraditionalObject } from './traditional-object.ts'

export interface ArchitecturesEnvironment extends Environment {
  /** Where `/sqlite` keeps its databases, and `/lazy-wasm` looks for its code. */
  readonly BUCKET: R2Bucket
  /** Postgres without a store, as a Worker of its own. */
  readonly COMPUTE: Service<Compute>
  /** Stores without Postgres, by `ARCHITECTURE/TENANT`. */
  readonly STATES: DurableObjectNamespace<StateObject>
  /** The same, which would load Postgres if they were let. */
  readonly LAZIES: DurableObjectNamespace<LazyObject>
  /** An object with a slot of its own per tenant. */
  readonly TRADITIONALS: DurableObjectNamespace<TraditionalObject>
  /** Of `/hybrid`, by tenant. */
  readonly HYBRIDS: DurableObjectNamespace<HybridObject>
  /** Of `/consumer`, by tenant. */
  readonly CONSUMERS: DurableObjectNamespace<ConsumerObject>
  /** Computes that are objects: those of the Worker that has this. */
  readonly COMPUTES: DurableObjectNamespace<ComputeObject>
  /** Of `/ws`; there is one. */
  readonly ROUTERS: DurableObjectNamespace<RouterObject>
  /** The Worker in front of the factory. */
  readonly FACTORY: Service<Factory>
}
