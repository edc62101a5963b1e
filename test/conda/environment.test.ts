import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openEnvironment } from '../../src/conda/environment.js'
import { makeEnvironment, python, temporaryFolder } from '../support/make-env.js'

const root = temporaryFolder()
const variables = { HOME: root }
let made = 0
const make = (what: Parameters<typeof makeEnvironment>[1]): string => {
  const prefix = join(root, `env-${made++}`)
  makeEnvironment(prefix, what)
  return prefix
}
const noarch = {
  name: 'pure',
  noarch: 'python',
  files: [
    { path: 'site-packages/pure.py', text: 'x' },
    { path: 'python-scripts/tool', text: 'y' },
  ],
  listed: [{ path: 'bin/pure', type: 'unix_python_entry_point' }],
} as const

describe.each(['conda', 'mamba', 'pixi'] as const)('as %s writes it', (style) => {
  test('python, platform, and where the files of a noarch package are', async () => {
    const environment = await openEnvironment(make({ style, packages: [python, noarch] }), variables)
    expect(environment).toMatchObject({
      platform: 'linux-64',
      python: { version: '3.11.4', sitePackages: 'lib/python3.11/site-packages' },
    })
    const pure = environment.packages.find(({ record }) => record.name === 'pure')
    expect([...(pure?.owned ?? [])].map((file) => file.path)).toEqual([
      'lib/python3.11/site-packages/pure.py',
      'bin/tool',
      'bin/pure',
    ])
    expect([...(pure?.owned ?? [])].every((file) => file.recorded !== null)).toBe(true)
  })
})

test('case 5: the place of site-packages that python itself names', async () => {
  const free = { ...python, version: '3.13.1', record: { python_site_packages_path: 'lib/python3.13t/site-packages' } }
  const environment = await openEnvironment(make({ packages: [free] }), variables)
  expect(environment.python?.sitePackages).toBe('lib/python3.13t/site-packages')
})

test('case 3: an environment without python', async () => {
  expect(await openEnvironment(make({ packages: [{ name: 'zlib' }] }), variables)).toMatchObject({
    python: null,
    platform: 'linux-64',
  })
  expect(await openEnvironment(make({ packages: [] }), variables)).toMatchObject({
    python: null,
    platform: 'noarch',
    packages: [],
  })
})

test('case 3: two pythons, noarch python without one, a broken record', async () => {
  const two = make({ packages: [python, { ...python, version: '3.12.0', files: [] }] })
  await expect(openEnvironment(two, variables)).rejects.toThrowError(/multiple versions of python found in prefix/)
  const none = make({ packages: [noarch] })
  await expect(openEnvironment(none, variables)).rejects.toThrowError(
    `noarch: python package installed ('pure'), but Python not found in environment ('${none}')`,
  )
  const broken = make({ packages: [] })
  writeFileSync(join(broken, 'conda-meta/x-1-0.json'), '{"name":')
  await expect(openEnvironment(broken, variables)).rejects.toMatchObject({
    code: 'ENV_DAMAGED',
    path: 'conda-meta/x-1-0.json',
  })
})

test('case 4: a record without paths is completed from the package cache, where that is still there', async () => {
  const cache = join(root, 'pkgs/old-1.0-0')
  mkdirSync(join(cache, 'info'), { recursive: true })
  writeFileSync(join(cache, 'info/files'), 'lib/old.txt\n')
  writeFileSync(join(cache, 'info/has_prefix'), '/a/placeholder text lib/old.txt\n')
  const old = (source: string) => ({
    name: 'old',
    record: { files: ['lib/old.txt', '.nonadmin'], paths_data: null, link: { source } },
  })
  const [there] = (await openEnvironment(make({ packages: [old(cache)] }), variables)).packages
  expect([...(there?.owned ?? [])]).toEqual([
    {
      path: 'lib/old.txt',
      recorded: { type: 'hardlink', placeholder: '/a/placeholder', mode: 'text' },
    },
  ])
  const [gone] = (await openEnvironment(make({ packages: [old('/nonexistent/old')] }), variables)).packages
  expect([...(gone?.owned ?? [])]).toEqual([{ path: 'lib/old.txt', recorded: null }])
})

test('scripts tell by which spelling the environment was installed', async () => {
  const prefix = make({
    packages: [
      python,
      {
        name: 'tool',
        listed: [
          { path: 'bin/tool', type: 'unix_python_entry_point' },
          { path: 'bin/other', type: 'unix_python_entry_point' },
        ],
      },
    ],
  })
  const spelled = join(root, 'home-by-another-name')
  symlinkSync(prefix, spelled)
  writeFileSync(join(prefix, 'bin/tool'), `#!${spelled}/bin/python3.11\nimport x\n`)
  writeFileSync(join(prefix, 'bin/other'), '#!/usr/bin/env python\n')
  expect((await openEnvironment(prefix, variables)).spellings).toEqual([spelled, prefix])
  writeFileSync(join(prefix, 'bin/tool'), `#!/bin/sh\n'''exec' "${spelled}/bin/python3.11" "$0" "$@" #'''\n`)
  expect((await openEnvironment(prefix, variables)).spellings).toEqual([spelled, prefix])
})
