/** The token of the JSON API, from the file that the configuration names. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { PgnapError } from '../../base/errors.ts'

/** Shorter ones can be guessed, or are a mistake. */
const CHARS_MIN = 16

/**
 * What is in the file, without blanks around it.
 * @throws PgnapError CONFIG_INVALID
 */
export function readAdminToken(path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw new PgnapError('CONFIG_INVALID', `admin-token-file: cannot read ${path}`, {
      hint: 'name a file that holds one line, such as: openssl rand -hex 32',
      cause,
    })
  }
  if (text.length < CHARS_MIN || !/^[\x21-\x7e]+$/.test(text)) {
    throw new PgnapError('CONFIG_INVALID', `admin-token-file: ${path} holds no usable token`, {
      detail: `a token is one word of at least ${CHARS_MIN} printable ASCII characters`,
      hint: 'make one with: openssl rand -hex 32',
    })
  }
  return text
}

/** Whether a token is the right one. Its time depends on the length of what is given only. */
export function tokenCheck(token: string): (given: string) => boolean {
  const right = digest(token)
  return (given) => timingSafeEqual(digest(given), right)
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
