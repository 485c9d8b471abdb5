/** Checks a password that came in clear (HTTP), against the same users as the wire's SCRAM. */
import { assert } from '../../base/assert.ts'
import { utf8 } from '../../base/bytes.ts'
import type { Random } from '../../base/random.ts'
import { equalInConstantTime, makeVerifier, parseVerifier } from '../../front/wire/scram.ts'
import type { Credentials } from '../../router/credentials.ts'

export type PasswordCheck = (user: string, password: string) => Promise<boolean>

/** Undefined under `trust`: nobody is asked. */
export async function passwordCheck(
  credentials: Credentials | undefined,
  random: Random,
): Promise<PasswordCheck | undefined> {
  if (!credentials) return undefined
  // An unknown user costs as much time as a known one.
  const decoy = await makeVerifier('', random)
  return async (user, password) => {
    const secret = credentials.secretOf(user)
    const verifier = secret?.verifier ?? decoy
    const parsed = parseVerifier(verifier)
    assert(parsed, 'credentials hold only verifiers that can be read')
    const made = await makeVerifier(password, random, parsed)
    return equalInConstantTime(utf8(made), utf8(verifier)) && secret !== undefined
  }
}
