import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, beforeEach, expect, test } from 'vitest'
import { create } from '../../src/install/create.js'
import { install } from '../../src/install/install.js'
import { withLayout } from '../../src/install/layout.js'
import { remove } from '../../src/install/remove.js'
import { temporaryFolder } from '../support/temp.js'
import { build, writeIndex } from './built.js'
import { sandbox } from './sandbox.js'

const folder = temporaryFolder('scripts')
const channel = join(folder, 'channel')
sandbox(folder)
const noted = join(folder, 'noted')

const script = (path: string, content: string) => ({ path, content: `#!/bin/bash\n${content}\n`, mode: 0o755 })
const note = (when: string): string =>
  `echo "${when} $PKG_NAME $PKG_VERSION $PKG_BUILDNUM $(cat "$PREFIX/share/acting") \${PATH%%:*}" >> '${noted}'`

beforeAll(async () => {
  const records = [
    await build(channel, {
      name: 'acting',
      version: '1.5',
      files: [
        { path: 'share/acting', content: 'here' },
        script(
          'bin/.acting-post-link.sh',
          `${note('linked')}; echo "see the manual" > "$PREFIX/.messages.txt"; touch "$PREFIX/made"`,
        ),
        script('bin/.acting-pre-unlink.sh', note('leaving')),
        script('bin/.other-post-link.sh', 'exit 1'),
      ],
    }),
    await build(channel, {
      name: 'failing',
      files: [script('bin/.failing-post-link.sh', 'echo the reason >&2; exit 3'), { path: 'share/failing' }],
    }),
    await build(channel, { name: 'plain', files: [{ path: 'share/plain', content: '' }] }),
  ]
  writeIndex(channel, records)
})
beforeEach(() => writeFileSync(noted, ''))

const from = { channels: [channel], overrideChannels: true }
let made = 0
const free = (): string => join(folder, 'envs', `env-${made++}`)

test('they are named, and not run', async () => {
  const prefix = free()
  const { warnings } = await create({ prefix, specs: ['acting'], ...from })
  expect(warnings).toEqual([expect.stringMatching(/not run.*--run-link-scripts.*: bin\/\.acting-post-link\.sh$/)])
  expect(readFileSync(noted, 'utf8')).toBe('')
  const laid = await withLayout({ specs: ['acting'], ...from }, async (layout) => layout.warnings)
  expect(laid).toEqual([expect.stringContaining('bin/.acting-post-link.sh')])
  const removed = await remove({ prefix, specs: ['acting'] })
  expect(removed.warnings).toEqual([expect.stringContaining('bin/.acting-pre-unlink.sh')])
  expect(readFileSync(noted, 'utf8')).toBe('')
})

test('asked for, they run where the environment stands, with the variables of conda, and what they say is told', async () => {
  const prefix = free()
  const { warnings } = await create({ prefix, specs: ['acting'], linkScripts: true, ...from })
  expect(warnings).toEqual(['acting: see the manual'])
  expect(existsSync(join(prefix, '.messages.txt'))).toBe(false)
  expect(existsSync(join(prefix, 'made'))).toBe(true)
  await remove({ prefix, specs: ['acting'], linkScripts: true })
  const bin = join(prefix, 'bin')
  expect(readFileSync(noted, 'utf8')).toBe(`linked acting 1.5 0 here ${bin}\nleaving acting 1.5 0 here ${bin}\n`)
  expect(existsSync(join(prefix, 'share/acting'))).toBe(false)
})

test('one that fails takes the new environment along; in an old one it is told', async () => {
  const failed = {
    code: 'LINK_SCRIPT_FAILED',
    message: expect.stringMatching(/failing-post-link.sh ended with 3:\nthe reason/),
  }
  const prefix = free()
  await expect(create({ prefix, specs: ['failing'], linkScripts: true, ...from })).rejects.toMatchObject(failed)
  expect(existsSync(prefix)).toBe(false)
  await create({ prefix, specs: ['plain'], ...from })
  await expect(install({ prefix, specs: ['failing'], linkScripts: true, ...from })).rejects.toMatchObject(failed)
  expect(existsSync(join(prefix, 'conda-meta/failing-1.0-0.json'))).toBe(true)
})
