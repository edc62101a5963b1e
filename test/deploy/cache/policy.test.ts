import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { defaultPolicy, policyFile, readPolicy } from '../../../src/deploy/cache/policy.js'
import { sizeOf, spanOf } from '../../../src/deploy/cache/units.js'
import { cliAs, noOtherUsers } from '../../support/as-user.js'
import { temporaryFolder } from '../../support/temp.js'

const work = temporaryFolder('policy')
let count = 0
function policy(text: string, mode = 0o644): string {
  const file = join(work, `policy${++count}.yaml`)
  writeFileSync(file, text)
  chmodSync(file, mode)
  return file
}

test('what a site decides', async () => {
  const file = policy(
    'cache:\n  root: /scratch/\n  shared: true\n  maxAge: 14d\n  maxBytes: 50G\n  maxInodes: 100000\n  minFree: 20Gi\n  leaseAge: 12h\n',
  )
  expect((await readPolicy(file)).cache).toEqual({
    root: '/scratch',
    shared: true,
    maxAge: 14 * 86_400,
    maxBytes: 50e9,
    maxInodes: 100_000,
    minFree: 20 * 2 ** 30,
    leaseAge: 43_200,
  })
  expect((await readPolicy(file)).file).toBe(file)
})

test('an empty file, an empty section and no file decide nothing', async () => {
  expect((await readPolicy(policy(''))).cache).toEqual(defaultPolicy.cache)
  expect((await readPolicy(policy('cache:\n'))).cache).toEqual(defaultPolicy.cache)
  expect(policyFile).toBe('/etc/conda-deploy.yaml')
})

describe('what is refused, by name', () => {
  test.each([
    ['cache:\n  rot: /scratch\n', "unknown key 'cache.rot'; known are root, shared"],
    ['cash:\n  root: /scratch\n', "unknown section 'cash'"],
    ['cache:\n  root: scratch\n', '\'cache.root\': expected an absolute path, got "scratch"'],
    ['cache:\n  root: 7\n', "'cache.root': expected an absolute path, got 7"],
    ['cache:\n  shared: yes please\n', "'cache.shared': expected true or false"],
    ['cache:\n  shared: true\n', "'cache.shared' needs 'cache.root'"],
    ['cache:\n  maxAge: 14\n', "'cache.maxAge': expected a span of time such as 14d"],
    ['cache:\n  maxBytes: much\n', "'cache.maxBytes': expected a size such as 50G"],
    ['cache:\n  maxInodes: -1\n', "'cache.maxInodes': expected a whole number from 1"],
    ['cache: /scratch\n', "'cache': expected settings"],
    ['- cache\n', 'expected settings'],
    ['cache: {root: [\n', 'policy'],
    ['cache:\n  root: /a\n  root: /b\n', 'unique'],
  ])('%j', async (text, message) => {
    const file = policy(text)
    await expect(readPolicy(file)).rejects.toMatchObject({ code: 'CONFIG_DAMAGED', path: file })
    await expect(readPolicy(file)).rejects.toThrow(message)
  })

  test('a file that others could have written, and one that is none', async () => {
    for (const mode of [0o664, 0o646, 0o666])
      await expect(readPolicy(policy('', mode))).rejects.toMatchObject({ code: 'PERMISSION' })
    const folder = join(work, 'folder')
    mkdirSync(folder)
    await expect(readPolicy(folder)).rejects.toThrow('is not a file')
    await expect(readPolicy(join(work, 'absent'))).rejects.toMatchObject({ code: 'CONFIG_DAMAGED' })
  })

  test.skipIf(noOtherUsers !== null)('a file of another user; CONDA_DEPLOY_POLICY for root', async () => {
    chmodSync(work, 0o755)
    const file = policy('cache:\n  maxAge: 1d\n')
    expect((await readPolicy(undefined, { CONDA_DEPLOY_POLICY: file })).file).not.toBe(file)
    chownSync(file, 65_534, 65_534)
    await expect(readPolicy(file)).rejects.toThrow('belongs to user 65534')
    // Its own user may use it, and may use root's.
    const list = (name: string) => cliAs(65_534, ['cache', 'list', '--root', work], { CONDA_DEPLOY_POLICY: name })
    expect(list(file)).toMatchObject({ status: 0, stderr: '' })
    expect(list(policy('cache:\n  maxAge: 1d\n'))).toMatchObject({ status: 0, stderr: '' })
    expect(list(policy('cache:\n  nonsense: 1d\n')).stderr).toContain("unknown key 'cache.nonsense'")
    chownSync(file, 65_533, 65_533)
    expect(list(file).stderr).toContain('belongs to user 65533')
  })
})

test('sizes and spans', () => {
  expect(['4096', '1k', '1.5M', '50G', '50GB', '2Ti', '2TiB'].map(sizeOf)).toEqual([
    ...[4096, 1000, 1_500_000, 50e9, 50e9, 2 * 2 ** 40, 2 * 2 ** 40],
  ])
  expect(['', 'G', '-1', '1 G', '1X', '1K', '1e3'].map(sizeOf)).toEqual(Array(7).fill(null))
  expect(['0s', '90s', '30m', '12h', '14d', '2w'].map(spanOf)).toEqual([0, 90, 1800, 43_200, 1_209_600, 1_209_600])
  expect(['', '14', 'd', '-1d', '1y'].map(spanOf)).toEqual(Array(5).fill(null))
})
