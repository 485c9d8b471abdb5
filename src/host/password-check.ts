/** Checks a password that came in clear (HTTP), against the same users as the wire's SCRAM. */
import type { Random } from '../base/random.ts'
import { fitsVerifier } from '../front/wire/scram.ts'
import type { Authenticate } from '../front/http/guard.ts'
import { makeVerifier } from '../router/scram-verifier.ts'
import type { Users } from '../router/users.ts'

/** Undefined under `trust`: nobody is asked. */
export async function passwordCheck(
  users: Users | undefined,
  random: Random,
): Promise<Authenticate | undefined> {
  if (!users) return undefined
  // An unknown user costs as much time as a known one.
  const decoy = await makeVerifier('', random)
  return async (user, password, tenant) => {
    const known = users.verifierOf(user, tenant)
    return (await fitsVerifier(password, known ?? decoy, random)) && known !== undefined
  }
}
