/** The memory of the runtimes that this process has started. Linux only: it is read from /proc. */
import { readdirSync, readFileSync } from 'node:fs'

const BYTES_PER_KB = 1024

/** Resident bytes of all child processes that are called workerd; undefined where nobody knows. */
export function runtimeBytes(): number | undefined {
  if (process.platform !== 'linux') return undefined
  const statuses = childIds().map((id) => readFileSync(`/proc/${id}/status`, 'utf8'))
  return statuses
    .filter((text) => /^Name:\s+workerd/m.test(text))
    .reduce((sum, text) => sum + Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1] ?? 0) * BYTES_PER_KB, 0)
}

function childIds(): string[] {
  return readdirSync('/proc/self/task').flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter((id) => id !== ''),
  )
}
