import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { findPrefix, spellingsOf } from '../../src/conda/find.js'
import { EnvError } from '../../src/errors.js'
import { temporaryFolder } from '../support/make-env.js'

const root = temporaryFolder()
const home = join(root, 'home')
const variables = { HOME: home, CONDA_EXE: join(root, 'conda/bin/conda'), CONDA_ENVS_PATH: join(root, 'project') }
const environment = (...parts: string[]): string => {
  const prefix = join(root, ...parts)
  mkdirSync(join(prefix, 'conda-meta'), { recursive: true })
  return prefix
}
const failure = (call: () => unknown): EnvError => {
  try {
    call()
  } catch (error) {
    if (error instanceof EnvError) return error
    throw error
  }
  throw new Error('expected an EnvError')
}

beforeAll(() => {
  environment('conda')
  environment('conda/envs/one')
  environment('home/.conda/envs/two')
  environment('project/twice')
  environment('elsewhere/noted')
  environment('elsewhere/twice')
  mkdirSync(join(root, 'project/no-environment'), { recursive: true })
  writeFileSync(
    join(home, '.conda/environments.txt'),
    `${join(root, 'elsewhere/noted')}\n${join(root, 'gone')}\n${join(root, 'elsewhere/twice')}\n`,
  )
})

test.each([
  ['one', 'conda/envs/one'],
  ['two', 'home/.conda/envs/two'],
  ['noted', 'elsewhere/noted'],
  ['base', 'conda'],
  ['conda', 'conda'],
])('-n %s is %s', (name, path) => {
  expect(findPrefix({ name }, variables)).toBe(join(root, path))
})

test('MAMBA_ROOT_PREFIX and CONDA_ENVS_DIRS are places too', () => {
  environment('mamba/envs/m')
  environment('other/o')
  expect(findPrefix({ name: 'm' }, { HOME: home, MAMBA_ROOT_PREFIX: join(root, 'mamba') })).toBe(
    join(root, 'mamba/envs/m'),
  )
  expect(findPrefix({ name: 'o' }, { HOME: home, CONDA_ENVS_DIRS: `${join(root, 'x')}:${join(root, 'other')}` })).toBe(
    join(root, 'other/o'),
  )
})

test('one environment by two ways is not ambiguous; two environments are', () => {
  symlinkSync(join(root, 'conda/envs/one'), join(root, 'project/one'))
  expect(findPrefix({ name: 'one' }, variables)).toMatch(/\/one$/)
  const error = failure(() => findPrefix({ name: 'twice' }, variables))
  expect(error.code).toBe('ENV_NOT_FOUND')
  expect(error.message).toMatch(/is ambiguous: it may be .*elsewhere\/twice or .*project\/twice/)
})

test('case 1: a name that is nowhere: where was looked, and what is there', () => {
  const error = failure(() => findPrefix({ name: 'no-environment' }, variables))
  expect(error.code).toBe('ENV_NOT_FOUND')
  expect(error.message).toMatch(/^Environment name 'no-environment' doesn't exist/)
  for (const part of [
    'project',
    'home/.conda/envs',
    'conda/envs',
    'home/.conda/environments.txt',
    'elsewhere/noted',
    'conda/envs/one',
  ])
    expect(error.message).toContain(join(root, part))
})

test('case 2: paths', () => {
  expect(findPrefix({ prefix: `${join(root, 'conda')}/` }, variables)).toBe(join(root, 'conda'))
  expect(failure(() => findPrefix({ prefix: join(root, 'gone') })).message).toBe(
    `Environment path '${join(root, 'gone')}' doesn't exist`,
  )
  expect(failure(() => findPrefix({ prefix: home }))).toMatchObject({
    code: 'NOT_AN_ENV',
    message: `Path '${home}' is not a conda environment`,
  })
  expect(failure(() => findPrefix({ prefix: root, name: 'x' })).message).toBe("Cannot specify both 'name' and 'prefix'")
})

test('case 1: neither: the active environment', () => {
  expect(findPrefix({}, { CONDA_PREFIX: join(root, 'conda/envs/one') })).toBe(join(root, 'conda/envs/one'))
  expect(failure(() => findPrefix({}, {}))).toMatchObject({ code: 'ENV_NOT_FOUND', exitStatus: 1 })
})

test('spellings of a prefix, longest first; what only looks alike is none', () => {
  const true_ = join(root, 'conda/envs/one')
  const link = join(root, 'a-longer-way-to-it')
  symlinkSync(true_, link)
  symlinkSync(join(root, 'conda'), join(root, 'c'))
  const short = join(root, 'c/envs/one')
  const found = spellingsOf(link, [short, join(root, 'gone'), 'relative', join(root, 'conda')], {
    HOME: home,
    CONDA_PREFIX: true_,
  })
  expect(found).toEqual([link, true_, short].sort((a, b) => b.length - a.length))
})
