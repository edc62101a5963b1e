import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readAhead } from '../../src/install/ahead.js'
import { temporaryFolder } from '../support/temp.js'

const folder = temporaryFolder('ahead')

function unpacked(cache: string, dist: string, depends: readonly string[]): string {
  const info = join(folder, cache, dist, 'info')
  mkdirSync(info, { recursive: true })
  writeFileSync(join(info, 'index.json'), JSON.stringify({ name: dist.split('-')[0], depends }))
  writeFileSync(join(info, 'repodata_record.json'), JSON.stringify({ fn: `${dist}.conda` }))
  writeFileSync(join(info, 'paths.json'), JSON.stringify({ paths: [{ _path: 'share/x', path_type: 'hardlink' }] }))
  return join(folder, cache, dist)
}

const caches = ['one', 'two', 'none'].map((name) => join(folder, name))
const tool = unpacked('one', 'tool-1.0-0', ['needed >=2', 'absent', 'damaged', 'begun'])
const older = unpacked('two', 'tool-0.9-h1_0', [])
const needed = unpacked('two', 'needed-2.0-0', ['tool'])
const damaged = unpacked('one', 'damaged-1.0-0', [])
writeFileSync(join(damaged, 'info/index.json'), '{')
rmSync(join(unpacked('one', 'begun-1.0-0', []), 'info/repodata_record.json')) // written last
unpacked('one', 'unasked-1.0-0', [])
writeFileSync(join(folder, 'one', 'needed-2.0-0.conda'), 'an archive, not unpacked')

test('what is asked for is read in all caches, and what that needs; what cannot be read is left', async () => {
  const { stop, done } = readAhead(caches, ['tool'], false)
  await done
  const read = stop()
  expect([...read.keys()].sort()).toEqual([needed, older, tool].sort())
  expect(read.get(tool)).toMatchObject({
    noted: { fn: 'tool-1.0-0.conda' },
    unpacked: { folder: tool, paths: [{ path: 'share/x' }] },
  })
})

test('once ended, nothing more is read', async () => {
  const { stop, done } = readAhead(caches, ['tool'], false)
  const read = stop()
  await done
  expect(read.size).toBe(0)
})
