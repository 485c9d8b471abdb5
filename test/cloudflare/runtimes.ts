/** The runtimes that a test has started, to end them as a machine does. Linux only: /proc tells. */
import { readdirSync, readFileSync } from 'node:fs'

/** Processes of this one that are called workerd. */
export function runtimes(): number[] {
  const children = readdirSync('/proc/self/task').flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, 'utf8').trim().split(' '),
  )
  return children
    .filter((id) => id !== '' && readFileSync(`/proc/${id}/comm`, 'utf8').startsWith('workerd'))
    .map(Number)
}
