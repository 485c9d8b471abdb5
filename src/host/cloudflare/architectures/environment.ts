/** What the Worker of the comparison is given to run with; see wrangler.architectures.jsonc. */
import type { Environment } from '../environment.ts'

export interface ArchitecturesEnvironment extends Environment {
  /** Where `/sqlite` keeps its databases, and `/lazy-wasm` looks for its code. */
  readonly BUCKET: R2Bucket
}
