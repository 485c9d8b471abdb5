/** Runs programs for the others: their output and errors in one, in the order of their writing. */
import { spawnSync } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export const folder = process.env.COMPAT_FOLDER

export function section(name) {
  console.log(`== ${name}`)
}

let count = 0

/** What a program says; two pipes would lose the order. */
export function output(program, args, { input = '', env = {}, timeout = 30_000 } = {}) {
  const file = join(folder, `output-${count++}`)
  const descriptor = openSync(file, 'w')
  const stdio = ['pipe', descriptor, descriptor]
  const options = { input, stdio, timeout, env: { ...process.env, ...env } }
  const { status, signal } = spawnSync(program, args, options)
  closeSync(descriptor)
  const ended = status === 0 ? '' : `(ended with ${status ?? signal})\n`
  return readFileSync(file, 'utf8') + ended
}

/** One test: what it returns or throws is printed. */
export async function test(name, run) {
  section(name)
  try {
    const value = await run()
    if (value !== undefined) console.log(typeof value === 'string' ? value : json(value))
  } catch (error) {
    const { code, severity, detail, constraint, position, table, column, routine } = error
    const facts = { code, severity, detail, constraint, position, table, column, routine }
    console.log(`${error.name}: ${error.message}`, json(facts))
  }
}

export function json(value) {
  const plain = (_, each) => {
    if (typeof each === 'bigint') return `${each}n`
    if (each instanceof Error) return `${each.name}: ${each.message}`
    return each
  }
  return JSON.stringify(value, plain, 1)
}
