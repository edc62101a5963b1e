/** case 21: the same environment, packed as conda-pack does and put into every container by the tools that users have: one tree. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { type PackOptions, pack } from '../../src/pack/pack.js'
import { condaPackTar } from '../support/conda-pack-archive.js'
import { here, makeEnvironment, python } from '../support/make-env.js'
import { cliFile, runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'

const work = temporaryFolder('formats')
const origin = join(work, 'origin')
const tree = join(work, 'tree')
const tar = join(work, 'env.tar')
const to = join(work, 'target/env')
const environment = {
  packages: [
    python,
    {
      name: 'x',
      files: [
        { path: 'lib/x.txt', text: `at ${here}\n` },
        { path: 'lib/link', link: 'x.txt' },
      ],
    },
  ],
  files: [{ path: 'bin/tool', text: `#!${here}/bin/python\n`, executable: true }],
}

const has = (tool: string): boolean => spawnSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' }).status === 0
const sh = (line: string): void => void execFileSync('sh', ['-c', line], { cwd: work, stdio: 'pipe' })

let expected: Map<string, string>
beforeAll(async () => {
  makeEnvironment(origin, environment)
  writeFileSync(tar, await condaPackTar(origin, environment))
  mkdirSync(tree)
  mkdirSync(join(work, 'target'))
  sh('tar -xf env.tar -C tree && chmod -R u+w tree')
  expected = await deployed(tar)
})

/** Without the times of directories, which unpacking sets anew. */
const described = (prefix: string): Map<string, string> =>
  new Map(
    [...describeTree(prefix, ['.conda-deploy'])].map(([path, line]) => [
      path,
      line.replace(/^(directory \d+) .*/, '$1'),
    ]),
  )

async function deployed(archive: string): Promise<Map<string, string>> {
  const { prefix } = await deploy({ archive, to, threads: 2, readOnly: false })
  expect((await verify(prefix)).faults).toEqual([])
  const found = described(prefix)
  removeTree(prefix)
  return found
}

const makers: [name: string, tool: string, line: string][] = [
  ['tar of GNU tar', 'tar', 'tar -cf OUT -C tree .'],
  ['tar without a magic number', 'tar', 'tar --format=v7 -cf OUT -C tree .'],
  ['pax of GNU tar', 'tar', 'tar --format=pax -cf OUT -C tree .'],
  ['tar of bsdtar', 'bsdtar', 'bsdtar -cf OUT -C tree .'],
  ['pax of bsdtar', 'bsdtar', 'bsdtar --format=pax -cf OUT -C tree .'],
  ['gzip', 'gzip', 'gzip -c env.tar > OUT'],
  ['gzip in several members', 'gzip', '(head -c 5000 env.tar | gzip; tail -c +5001 env.tar | gzip) > OUT'],
  ['pigz', 'pigz', 'pigz -c env.tar > OUT'],
  ['pigz -i', 'pigz', 'pigz -i -c env.tar > OUT'],
  ['bzip2', 'bzip2', 'bzip2 -c env.tar > OUT'],
  ['bzip2 twice', 'bzip2', '(head -c 5000 env.tar | bzip2; tail -c +5001 env.tar | bzip2) > OUT'],
  ['xz', 'xz', 'xz -c env.tar > OUT'],
  ['xz twice', 'xz', '(head -c 5000 env.tar | xz; tail -c +5001 env.tar | xz) > OUT'],
  ['zstd', 'zstd', 'zstd -q -c env.tar > OUT'],
  ['zstd twice', 'zstd', '(head -c 5000 env.tar | zstd -q; tail -c +5001 env.tar | zstd -q) > OUT'],
  ['zip -y', 'zip', 'cd tree && zip -qry ../OUT.zip . && mv ../OUT.zip ../OUT'],
  ['zip -y, stored', 'zip', 'cd tree && zip -0qry ../OUT.zip . && mv ../OUT.zip ../OUT'],
  ['squashfs', 'mksquashfs', 'mksquashfs tree OUT -quiet -no-progress -all-root >/dev/null'],
]

const packed: [format: NonNullable<PackOptions['format']>, tool: string, more?: Partial<PackOptions>][] = [
  ['tar', 'tar'],
  ['tar.gz', 'gzip'],
  ['tar.bz2', 'bzip2'],
  ['tar.xz', 'xz'],
  ['zip', 'sh', { zipSymlinks: true }],
  ['squashfs', 'mksquashfs'],
  ['no-archive', 'sh'],
]

describe('case 21: an environment deploys to the same tree from', () => {
  test.each(makers)('%s', async (name, tool, line) => {
    if (!has(tool)) return console.warn(`skipped: ${name}: ${tool} is not installed`)
    sh(`rm -f out && ${line.replaceAll('OUT', 'out')}`)
    expect(differences(await deployed(join(work, 'out')), expected)).toEqual([])
  })

  test('a folder into which it was unpacked', async () => {
    expect(differences(await deployed(tree), expected)).toEqual([])
  })

  test('a folder that may only be read', async () => {
    sh('cp -a tree locked && chmod -R a-w locked')
    expect([...(await deployed(join(work, 'locked'))).keys()]).toEqual([...expected.keys()])
    removeTree(join(work, 'locked'))
  })

  test('standard input, in a format of ours too', () => {
    const ours = join(work, 'ours.tar.zst')
    const run = (args: string[], input?: Buffer) =>
      spawnSync('node', [cliFile, ...args], { input, encoding: 'utf8', env: { ...process.env, TMPDIR: work } })
    expect(run(['pack', '-p', origin, '-o', ours]).status).toBe(0)
    for (const file of [tar, ours]) {
      const { status, stderr, stdout } = run(['-', '--to', to, '--writable'], readFileSync(file))
      expect(status, stderr).toBe(0)
      expect(stdout.trim()).toBe(to)
      if (file === tar) expect(differences(described(to), expected)).toEqual([])
      removeTree(to)
    }
    const cut = run(['-', '--to', to], readFileSync(tar).subarray(0, 4000))
    expect([cut.status, cut.stderr.split('\n')[0]]).toEqual([1, expect.stringMatching(/^conda-deploy: standard input/)])
    expect(run(['-', '--to', to], Buffer.alloc(0)).stderr).toMatch(/standard input is empty/)
    expect(readdirSync(work).filter((name) => name.includes('spool'))).toEqual([])
  })
})

describe('case 14: what pack makes deploys to the same tree, as', () => {
  let reference: Map<string, string>
  beforeAll(async () => {
    const { output } = await pack({ prefix: origin, output: join(work, 'pack.tar.zst') })
    reference = await deployed(output ?? '')
  })

  test.each(packed)('%s', async (format, tool, more) => {
    if (!has(tool)) return console.warn(`skipped: ${format}: ${tool} is not installed`)
    const { output } = await pack({ prefix: origin, output: join(work, `packed-${format}`), format, ...more })
    const found = await deployed(output ?? '')
    // Of no use in a relocated tree: left out of what an archive of another format brings.
    expect(differences(found, reference).filter((line) => !line.startsWith('bin/conda-unpack: absent'))).toEqual([])
  })
})

describe('a tool that decompresses', () => {
  test('says why it could not in our error, and nothing to the terminal', async () => {
    if (!has('bzip2')) return console.warn('skipped: bzip2 is not installed')
    sh('bzip2 -c env.tar > whole.bz2')
    const broken = readFileSync(join(work, 'whole.bz2'))
    broken.fill(0x55, broken.length >> 1)
    writeFileSync(join(work, 'broken.tar.bz2'), broken)
    const done = await runCli([join(work, 'broken.tar.bz2'), '--to', to])
    expect([done.status, done.stderr]).toEqual([1, expect.stringMatching(/^conda-deploy: .*bzip2 could not .*bzip2: /)])
  })
})

test('an image that lists more than is allowed is not extracted', async () => {
  if (!has('mksquashfs')) return console.warn('skipped: mksquashfs is not installed')
  sh('cp -a tree bomb && truncate -s 3M bomb/lib/zeros && mksquashfs bomb bomb.sqsh -quiet -no-progress >/dev/null')
  const archive = join(work, 'bomb.sqsh')
  await expect(deploy({ archive, to, maxBytes: 2 ** 21 })).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
  await expect(deploy({ archive, to, maxBytes: 2 ** 40, maxFiles: 3 })).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
  })
  expect(readdirSync(join(work, 'target'))).toEqual([])
})

test('a folder without an environment is none, and is left alone', async () => {
  const folder = join(work, 'folder')
  mkdirSync(folder)
  writeFileSync(join(folder, 'a'), 'x')
  chmodSync(join(folder, 'a'), 0o600)
  await expect(deploy({ archive: folder, to })).rejects.toMatchObject({ code: 'NOT_AN_ENV' })
  expect(readdirSync(folder)).toEqual(['a'])
  expect(readdirSync(join(work, 'target'))).toEqual([])
})
