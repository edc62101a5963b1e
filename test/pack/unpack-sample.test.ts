/**
 * The sample environment, in the records of conda, mamba and pixi: packed, its source taken away, then completed twice. Plain tar with
 * the archive's own `conda-unpack` and a deployment by the native core must give the same tree.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, renameSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { pack } from '../../src/pack/pack.js'
import { makeSampleEnvironment } from '../support/sample-env.js'
import { isInstalled } from '../support/shells.js'
import { removeTree } from '../support/temp.js'
import { describeTree, differences, filesWith } from '../support/tree.js'

const lacking = ['g++', 'ar', 'tar', 'zstd', 'python3'].filter((program) => !isInstalled(program))
if (lacking.length > 0) console.warn(`skipped: test/pack/unpack-sample: not installed: ${lacking.join(', ')}`)

let work: string
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'conda-deploy-unpack-sample-'))
})
afterAll(() => removeTree(work))

const run = (program: string): string =>
  execFileSync(program, { encoding: 'utf8', env: { PATH: '/usr/bin:/bin', HOME: '/dev/null' } })

test.skipIf(lacking.length > 0)('the sample is the same every time, and its programs run', () => {
  const root = mkdtempSync(join(work, 'twice-'))
  const prefix = join(root, 'envs/one')
  const first = makeSampleEnvironment(join(root, 'a'), { prefix })
  expect(run(join(prefix, 'bin/hello'))).toContain(`prefix=${first.prefix}\n`)
  expect(run(join(prefix, 'bin/tool'))).toContain(`interpreter=${prefix}/bin/python3.11\n`)
  expect(filesWith(prefix, '_placehold_placehold').filter((path) => !/^conda-meta\/|\.pyc$/.test(path))).toEqual([])
  const contents = (lines: Map<string, string>) =>
    new Map([...lines].filter(([path, line]) => !line.startsWith('directory') && !path.startsWith('conda-meta/')))
  const seen = contents(describeTree(prefix))
  renameSync(prefix, join(root, 'envs/aside'))
  makeSampleEnvironment(join(root, 'b'), { prefix })
  expect(differences(seen, contents(describeTree(prefix)))).toEqual([])
})

const styles = ['conda', 'mamba', 'pixi'] as const
describe.skipIf(lacking.length > 0).each(styles)('case 7: as %s records it, placeholders named or not', (style) => {
  let root: string
  let archive: string
  let uncached: string
  let source: string

  beforeAll(async () => {
    root = mkdtempSync(join(work, `${style}-`))
    // Long, so that what pip built can take long prefixes too.
    source = join(root, 'home', 'a'.repeat(150), 'envs/sample')
    const { packageCache } = makeSampleEnvironment(root, { style, prefix: source })
    archive = join(root, 'sample.tar.zst')
    await pack({ prefix: source, output: archive })
    removeTree(packageCache)
    uncached = join(root, 'uncached.tar.zst')
    await pack({ prefix: source, output: uncached })
    renameSync(join(root, 'home'), join(root, 'away'))
  })

  test('case 6: packed without the package cache, it is the same archive', () => {
    expect(readFileSync(uncached).equals(readFileSync(archive))).toBe(true)
  })

  test.each([
    ['a short prefix', 'plain'],
    ['a prefix with blanks and what shells expand', 'b "$x` \\ l'],
    ['a prefix that no first line can hold', 'l'.repeat(100)],
    ['a prefix that is not ASCII', 'é😀'.repeat(5)],
  ])('%s', async (_, name) => {
    const prefix = join(root, name)
    mkdirSync(prefix)
    execFileSync('tar', ['-I', 'zstd', '-xf', archive, '-C', prefix])
    const done = spawnSync(join(prefix, 'bin/conda-unpack'), { encoding: 'utf8' })
    expect(done.status, done.stderr).toBe(0)
    const byTar = describeTree(prefix, ['.conda-deploy'])
    renameSync(prefix, join(root, `by-tar-${name.length}`))

    await deploy({ archive, to: prefix, readOnly: false })
    expect(differences(byTar, describeTree(prefix, ['.conda-deploy']))).toEqual([])
    expect((await verify(prefix)).faults).toEqual([])
    const said = run(join(prefix, 'bin/hello'))
    expect(said).toContain(`prefix=${prefix}\n`)
    expect(said).toContain('data=forty-two\n')
    expect(run(join(prefix, 'bin/tool'))).toContain(`interpreter=${prefix}/bin/python3.11\n`)
    expect(readFileSync(join(prefix, 'share/sample-data/home'), 'utf8')).toBe(prefix)
    // Only a neighbour's path begins like the prefix; compiled Python is corrected by Python itself.
    const left = filesWith(prefix, source).filter((path) => !/^\.conda-deploy\/|^bin\/conda-unpack$|\.pyc$/.test(path))
    expect(left).toEqual(['lib/python3.11/site-packages/pip_tool/config.json'])
    const again = spawnSync(join(prefix, 'bin/conda-unpack'), { encoding: 'utf8' })
    expect([again.status, again.stderr]).toEqual([0, expect.stringContaining('nothing to do')])
  })
})
