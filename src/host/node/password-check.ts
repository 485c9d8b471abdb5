/** Checks a password that came in clear (HTTP), against the same users as the wire's SCRAM. */
import { assert } from '../../base/assert.ts'
import { utf8 } from '../../base/bytes.ts'
import { equalInConstantTime, makeVerifier, parseVerifier } from '../../front/wire/scram.ts'
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
    const secret = credentials.secretOf(user)
    const verifier = secret?.verifier ?? decoy
    const parsed = parseVerifier(verifier)
    assert(parsed, 'credentials hold only verifiers that can be read')
    const made = await makeVerifier(password, systemRandom, parsed)
    return equalInConstantTime(utf8(made), utf8(verifier)) && secret !== undefined
  }
}
