/**
 * The same environment packed by conda-pack and by us, unpacked at the same place, compared file by file. `explanations` is the whole list
 * of differences: one that is not in it fails the test, and so does one that no longer occurs. Needs CONDA_PACK (a conda-pack to run) and
 * the folder of conda packages.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeTree } from '../support/tree.js'

const root = resolve(import.meta.dirname, '../..')
const channel = resolve(process.env['CONDA_DEPLOY_CHANNEL'] ?? join(root, '../shared/channel'))
const condaPack = process.env['CONDA_PACK']
const missing = [
  ...(existsSync(join(channel, 'make_scenarios.py'))
    ? []
    : [`no conda packages at ${channel} (set CONDA_DEPLOY_CHANNEL)`]),
  ...(condaPack === undefined ? ['no conda-pack to compare with (set CONDA_PACK)'] : []),
]
if (missing.length > 0) console.warn(`skipped: test/e2e/beside-conda-pack: ${missing.join('; ')}`)

/** What stands at a path; undefined: nothing. */
interface Place {
  readonly kind: 'file' | 'directory' | 'link'
  readonly mode: string
  readonly mtime: string
  /** Hash, or target of a link. */
  readonly content: string
}
const place = (line: string | undefined): Place | undefined => {
  if (line === undefined) return undefined
  const [kind, mode = '', mtime = '', content = ''] = line.split(' ')
  return kind === 'link'
    ? { kind, mode: '', mtime: '', content: line }
    : { kind: kind as Place['kind'], mode, mtime, content }
}

interface Difference {
  readonly path: string
  readonly what: 'only theirs' | 'only ours' | 'kind' | 'mode' | 'mtime' | 'content'
  readonly theirs: Place | undefined
  readonly ours: Place | undefined
}

interface Explanation {
  readonly why: string
  readonly holds: (difference: Difference, trees: { theirs: string; ours: string }) => boolean
}

const normalised = (mode: string): string => ((Number.parseInt(mode, 8) & 0o111) === 0 ? '644' : '755')
const textOf = (tree: string, path: string): string => readFileSync(join(tree, path), 'latin1')
const placeholder = '_placehold_placehold'
const scripts = /^bin\/(de)?activate(\.\w+)?$/

const explanations: readonly Explanation[] = [
  {
    why: 'modes: theirs as the source had them, so that a group may write into what others execute; ours 0644 and 0755',
    holds: ({ what, theirs, ours }) =>
      what === 'mode' && theirs !== undefined && ours?.mode === normalised(theirs.mode),
  },
  {
    why: 'times of directories: theirs the hour of unpacking, ours those of the source',
    holds: ({ what, theirs }) => what === 'mtime' && theirs?.kind === 'directory',
  },
  {
    why: 'times of rewritten files: theirs the hour of conda-unpack, so that .pyc files no longer fit; ours those of the source',
    holds: ({ what, theirs }) => what === 'mtime' && theirs?.kind === 'file',
  },
  {
    why: 'activation: ours keeps nested activations, runs under set -eu, reads env_vars.d and state, and speaks csh too',
    holds: ({ path, what }) =>
      (scripts.test(path) || path === 'bin/activate.awk') && (what === 'content' || what === 'only ours'),
  },
  {
    why: 'conda-unpack: ours is one file, any Python 3 runs it, and it leaves a mark where the tree was made for',
    holds: ({ path }) =>
      ['bin/conda-unpack', 'bin/conda_unpack_progress.py', '.conda-deploy', '.conda-deploy/unpacked'].includes(path),
  },
  {
    why: 'shebangs: theirs finds an interpreter by PATH, whichever it is; ours names that of the environment',
    holds: ({ path, what }, { theirs, ours }) =>
      what === 'content' &&
      path.startsWith('bin/') &&
      textOf(theirs, path).startsWith('#!/usr/bin/env ') &&
      !textOf(ours, path).startsWith('#!/usr/bin/env '),
  },
  {
    why: 'what theirs never relocates: bin/python*, which keeps the build placeholder',
    holds: ({ path, what }, { theirs, ours }) =>
      what === 'content' &&
      path.startsWith('bin/python') &&
      textOf(theirs, path).includes(placeholder) &&
      !textOf(ours, path).includes(placeholder),
  },
  {
    why: 'conda-meta: theirs keeps hashes and paths of the source; ours is true of the tree it stands in',
    holds: ({ path, what }) => what === 'content' && path.startsWith('conda-meta/'),
  },
  {
    why: '.pyc of rewritten sources: theirs keeps what Python must compile again at every start; ours leaves them out',
    holds: ({ path, what }) => what === 'only theirs' && path.endsWith('.pyc'),
  },
]

describe.skipIf(missing.length > 0)('beside conda-pack, of the same environment', () => {
  let work: string
  const trees = { theirs: '', ours: '' }
  const found: Difference[] = []

  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'conda-deploy-beside-'))
    const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' }
    const run = (command: string, ...args: string[]) =>
      execFileSync(command, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
    execFileSync('python3', ['make_scenarios.py', '--root', work, 'myproject'], { cwd: channel, stdio: 'ignore', env })
    const source = join(work, 'home/alice/.conda/envs/myproject')
    const archives = { theirs: join(work, 'theirs.tar.gz'), ours: join(work, 'ours.tar.zst') }
    run(condaPack as string, '-p', source, '-o', archives.theirs, '-q')
    run('node', join(root, 'dist/conda-deploy.cjs'), 'pack', '-p', source, '-o', archives.ours, '-q')
    const at = join(work, 'at')
    for (const maker of ['theirs', 'ours'] as const) {
      mkdirSync(at)
      run('tar', '-xf', archives[maker], '-C', at)
      run('python3', join(at, 'bin/conda-unpack'))
      trees[maker] = join(work, maker)
      renameSync(at, trees[maker])
    }
    const [theirs, ours] = [describeTree(trees.theirs), describeTree(trees.ours)]
    for (const path of [...new Set([...theirs.keys(), ...ours.keys()])].sort()) {
      const [one, other] = [place(theirs.get(path)), place(ours.get(path))]
      const add = (what: Difference['what']) => found.push({ path, what, theirs: one, ours: other })
      if (one === undefined) add('only ours')
      else if (other === undefined) add('only theirs')
      else if (one.kind !== other.kind) add('kind')
      else for (const what of ['mode', 'mtime', 'content'] as const) if (one[what] !== other[what]) add(what)
    }
  })

  afterAll(() => {
    if (work === undefined) return
    execFileSync('chmod', ['-R', 'u+w', work])
    rmSync(work, { recursive: true, force: true })
  })

  test('case 14: every difference of the unpacked trees is explained', () => {
    const open = found.filter((difference) => !explanations.some(({ holds }) => holds(difference, trees)))
    expect(open).toEqual([])
    const counts = explanations.map(({ why, holds }) => `${found.filter((one) => holds(one, trees)).length}  ${why}`)
    console.info(['differences from conda-pack, in places:', ...counts].join('\n  '))
  })

  test.each(explanations)('it is still so: $why', ({ holds }) => {
    expect(found.some((difference) => holds(difference, trees))).toBe(true)
  })
})
