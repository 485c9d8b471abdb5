/** Checks a password that came in clear (HTTP), against the same users as the wire's SCRAM. */
import type { Random } from '../../base/random.ts'
import { fitsVerifier } from '../../front/wire/scram.ts'
import type { Credentials } from '../../router/credentials.ts'
import { makeVerifier } from '../../router/scram-verifier.ts'

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
    const known = credentials.verifierOf(user)
    return (await fitsVerifier(password, known ?? decoy, random)) && known !== undefined
  }
}
