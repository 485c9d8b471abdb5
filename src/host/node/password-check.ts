/** Checks a password that came in clear (HTTP), against the same users as the wire's SCRAM. */
import { concatBytes } from '../../base/bytes.ts'
import { equalInConstantTime } from '../../front/wire/scram.ts'
import { type Verifier, makeVerifier } from '../../router/scram-verifier.ts'
import type { Config } from './config.ts'
import { readCredentials } from './read-credentials.ts'
import { systemRandom } from './random.ts'

export type PasswordCheck = (user: string, password: string) => Promise<boolean>

/** Undefined under `trust`: nobody is asked. */
export async function passwordCheck(config: Config): Promise<PasswordCheck | undefined> {
  const credentials = await readCredentials(config, systemRandom)
  if (!credentials) return undefined
  // An unknown user costs as much time as a known one.
  const decoy = await makeVerifier('', systemRandom)
  return async (user, password) => {
    const known = credentials.verifierOf(user)
    const verifier = known ?? decoy
    const made = await makeVerifier(password, systemRandom, verifier)
    return equalInConstantTime(keysOf(made), keysOf(verifier)) && known !== undefined
  }
}

function keysOf({ storedKey, serverKey }: Verifier): Uint8Array {
  return concatBytes([storedKey, serverKey])
}
