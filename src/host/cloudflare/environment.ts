/** What a Worker is given to run with: bindings, settings, secrets. See wrangler.jsonc. */
import type { DirectoryObject } from './directory-object.ts'
import type { TenantObject } from './tenant-object.ts'

export interface Environment {
  /** One object per tenant, by its name. */
  readonly TENANTS: DurableObjectNamespace<TenantObject>
  /** One object, which knows the names of all tenants. */
  readonly DIRECTORY: DurableObjectNamespace<DirectoryObject>
  /**
   * Users with their passwords, as the lines of an auth file: `"user" "password or SCRAM
   * verifier"`. A secret. Without it nobody is asked for a password, and only loopback and the
   * hosts of PGNAP_HOSTS are served.
   */
  readonly PGNAP_USERS?: string
  /** Opens /v1, instead of a password. A secret. */
  readonly PGNAP_ADMIN_TOKEN?: string
  /** Host names by which the Worker is reached, with commas. */
  readonly PGNAP_HOSTS?: string
  /** Origins of web pages that may ask, with commas. */
  readonly PGNAP_ORIGINS?: string
  /** What the Worker calls itself: names in front of it are tenants, `acme.db.example.com`. */
  readonly PGNAP_DOMAIN?: string
  /** `false`: tenants are made by POST /v1/tenants alone. Default: by being asked something. */
  readonly PGNAP_CREATE_ON_CONNECT?: string
  /** How many of the hottest tenants are kept warm; `0`: none. Default: `keptWarmDefault`. */
  readonly PGNAP_KEEP_WARM_TENANTS?: string
  /**
   * Rest in seconds after which a tenant that was written to is checkpointed and maintained by an
   * alarm; `0`: never. Default: `upkeepAlarmMs`.
   */
  readonly PGNAP_UPKEEP_AFTER_SECONDS?: string
}

/** The object that knows the names of all tenants. */
export const DIRECTORY_NAME = 'directory'
