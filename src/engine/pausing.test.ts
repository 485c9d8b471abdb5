import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compilePausing, type PauseHost, Pausing } from './pausing.ts'
import { assemble, type Bytes, CODE, exporting, functionOf, functionType } from './wasm-assembly.ts'
import { importing, TYPE } from './wasm-assembly.ts'

interface Stage {
  readonly pausing: Pausing
  /** What the thread does, in order. */
  readonly seen: string[]
}

const compile = (bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module =>
  new WebAssembly.Module(bytes)

/** A module whose main loop calls `step` of the stage, once directly and once by JavaScript. */
function stage(step: (name: string) => void, host: Partial<PauseHost> = {}): Stage {
  const code = compilePausing({ take: () => {}, giveBack: () => {} }, compile)
  const pausing = Pausing.open(code)
  assert.ok(code && pausing, 'this runtime can pause')
  const seen: string[] = []
  pausing.host = {
    wantsPause: () => true,
    pause: async () => {
      await Promise.resolve()
      seen.push('meanwhile')
    },
    leave: () => void seen.push('leaves'),
    goOn: () => void seen.push('goes on'),
    end: (answer) => answer,
    awayMs: 0,
    ...host,
  }
  const door = pausing.door as () => number
  const [direct, byJavaScript, before, after] = [0, 1, 2, 3] as const
  const call = (index: number): Bytes => [CODE.call, index]
  const module = compile(
    assemble({
      types: [functionType([], []), functionType([], [TYPE.i32])],
      imports: [
        importing.function('door', 1),
        importing.function('byJavaScript', 0),
        importing.function('before', 0),
        importing.function('after', 0),
      ],
      functions: [0],
      exports: [exporting.function('loop', 4)],
      code: [
        functionOf([], [call(before), call(direct), [CODE.drop], call(byJavaScript), call(after)]),
      ],
    }),
  )
  const env = {
    door,
    byJavaScript: () => {
      seen.push('from JavaScript')
      door()
    },
    before: () => step('before'),
    after: () => step('after'),
  }
  const { exports } = new WebAssembly.Instance(module, { env: env as never })
  pausing.connect(exports['loop'], () => {})
  return { pausing, seen }
}

test('what pauses goes on later; with JavaScript in between it goes on at once', async () => {
  const { pausing, seen } = stage((name) => seen.push(name))
  const running = pausing.turns(() => false)
  assert.ok(running instanceof Promise)
  assert.deepEqual(seen, ['before', 'leaves'])
  assert.deepEqual(await running, {})
  const refused = ['from JavaScript', 'after']
  assert.deepEqual(seen, ['before', 'leaves', 'meanwhile', 'goes on', ...refused, 'leaves'])
  pausing.comeBack()
  assert.equal(seen.at(-1), 'goes on')
})

test('whoever does not pause is done when the call comes back', () => {
  const { pausing, seen } = stage((name) => seen.push(name), { wantsPause: () => false })
  assert.deepEqual(
    pausing.turns(() => false),
    {},
  )
  assert.deepEqual(seen, ['before', 'from JavaScript', 'after'])
})

test('what is thrown is told, at once or after a pause', async () => {
  const thrower = (when: string) => (name: string) => {
    if (name === when) throw new Error(when)
  }
  const early = stage(thrower('before')).pausing.turns(() => false)
  assert.match(String((early as { error: unknown }).error), /before/)
  const late = await stage(thrower('after')).pausing.turns(() => false)
  assert.match(String(late.error), /after/)
})
