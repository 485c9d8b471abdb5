/** The users of a server, from the file that its configuration names. */
import { readFileSync } from 'node:fs'
import { PgnapError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { Credentials } from '../../router/credentials.ts'
import { makeVerifier, saltOf } from '../../router/scram-verifier.ts'
import type { Config } from './config.ts'

/**
 * Undefined under `trust`. @param saltSecret of the control database
 * @throws PgnapError CONFIG_INVALID if the file cannot be read or understood
 */
export async function readCredentials(
  { auth, authFile }: Config,
  random: Random,
  saltSecret: Uint8Array<ArrayBuffer>,
): Promise<Credentials | undefined> {
  if (auth !== 'scram' || authFile === undefined) return undefined
  let text: string
  try {
    text = readFileSync(authFile, 'utf8')
  } catch (cause) {
    throw new PgnapError('CONFIG_INVALID', `cannot read the auth file ${authFile}`, {
      hint: 'its lines are "user" "password or SCRAM verifier", as in PgBouncer',
      cause,
    })
  }
  return Credentials.parse(text, async (password, user) =>
    makeVerifier(password, random, { salt: await saltOf(user, saltSecret) }),
  )
}
