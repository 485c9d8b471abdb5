import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { testFolder } from '../../../../test/support/temporary-folder.ts'
import { OutputFile } from './output-file.ts'

suite('an output file', () => {
  test('has its name when it is whole, and not before', () => {
    const folder = testFolder()
    const path = join(folder, 'a.sql')
    writeFileSync(path, 'of yesterday')
    {
      using file = new OutputFile(path)
      file.write(Buffer.from('one '))
      assert.equal(readFileSync(path, 'utf8'), 'of yesterday')
      file.write(Buffer.from('two'))
      file.keep()
    }
    assert.deepEqual([readdirSync(folder), readFileSync(path, 'utf8')], [['a.sql'], 'one two'])
  })

  test('leaves nothing if it does not become whole', () => {
    const folder = testFolder()
    {
      using file = new OutputFile(join(folder, 'a.sql'))
      file.write(Buffer.from('half'))
    }
    assert.deepEqual(readdirSync(folder), [])
  })

  test('leaves nothing if its process is told to end', async () => {
    const folder = testFolder()
    const code = `import { OutputFile } from '${join(import.meta.dirname, 'output-file.ts')}'
      new OutputFile('${join(folder, 'a.sql')}')
      setInterval(() => {}, 1000)
      console.log('open')`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', code])
    await once(child.stdout, 'data')
    assert.equal(readdirSync(folder).length, 1)
    child.kill('SIGTERM')
    assert.deepEqual(await once(child, 'exit'), [null, 'SIGTERM'])
    assert.deepEqual(readdirSync(folder), [])
  })

  test('is where a link leads to, and never in the place of a device', () => {
    const folder = testFolder()
    const path = join(folder, 'a.sql')
    const link = join(folder, 'link.sql')
    writeFileSync(path, '')
    symlinkSync(path, link)
    using file = new OutputFile(link)
    file.write(Buffer.from('x'))
    file.keep()
    assert.equal(readFileSync(path, 'utf8'), 'x')
    for (const wrong of ['/dev/null', folder, join(folder, 'none', 'a.sql')]) {
      assert.throws(() => new OutputFile(wrong), { code: 'CONFIG_INVALID' })
    }
    assert.ok(existsSync('/dev/null'))
  })
})
