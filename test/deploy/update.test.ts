import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { type DeployOptions, deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { pack } from '../../src/pack/pack.js'
import { runCli } from '../support/run-cli.js'
import { makeSampleEnvironment } from '../support/sample-env.js'
import { temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'

const work = temporaryFolder('update')
const [first, second, foreign] = ['first.tar.zst', 'second.tar.zst', 'foreign.tar.gz'].map((name) =>
  join(work, name),
) as [string, string, string]
/** A file that both have, one that only the first has, and one that is another in the second. */
const [kept, gone, changed] = ['share/kept.txt', 'share/gone/file.txt', 'share/changed.txt'] as const
let round = 0

beforeAll(async () => {
  const { prefix } = makeSampleEnvironment(join(work, 'sample'))
  const put = (path: string, text: string): void => {
    mkdirSync(join(prefix, path, '..'), { recursive: true })
    writeFileSync(join(prefix, path), text)
  }
  put(kept, `in ${prefix}\n`)
  put(gone, 'goes\n')
  put(changed, `one of ${prefix}\n`)
  await pack({ prefix, output: first })
  rmSync(join(prefix, 'share/gone'), { recursive: true })
  put(changed, `another of ${prefix}\n`)
  put('share/new/file.txt', 'new\n')
  await pack({ prefix, output: second })
  await pack({ prefix, output: foreign, format: 'tar.gz' })
})

const place = (): string => {
  const folder = join(work, `${++round}`)
  mkdirSync(folder)
  return join(folder, 'env')
}

async function deployed(options: Partial<DeployOptions> = {}): Promise<string> {
  return (await deploy({ archive: first, to: place(), ...options })).prefix
}

const update = (to: string, options: Partial<DeployOptions> = {}) =>
  deploy({ archive: second, to, update: true, ...options })

/** Opens a file of a read-only tree for who wants to change it. */
function openAt(prefix: string, path: string): string {
  for (let at = join(prefix, path); at.length >= prefix.length; at = join(at, '..')) chmodSync(at, 0o755)
  return join(prefix, path)
}

/** But for the time of the folders in which a lock and a stage stood. */
function expectAsBefore(to: string, before: ReturnType<typeof describeTree>): void {
  const times = /^(conda-meta|\.conda-deploy): /
  expect(differences(before, describeTree(to)).filter((line) => !times.test(line))).toEqual([])
}

describe('an earlier deployment', () => {
  test.each([true, false])(
    'read-only %s: only what differs is written, and what stays is not touched',
    async (readOnly) => {
      const to = await deployed({ readOnly })
      const inode = statSync(join(to, kept)).ino
      const done = await update(to, { readOnly })
      expect(done).toMatchObject({ method: 'updated', prefix: to, base: null, warnings: [] })
      expect(done.updated).toMatchObject({ removed: 1, moments: 0 })
      expect(done.updated?.kept).toBeGreaterThan(20)
      expect(done.files).toBeLessThan(5)
      expect(statSync(join(to, kept)).ino).toBe(inode)
      expect(readFileSync(join(to, changed), 'utf8')).toBe(`another of ${to}\n`)
      expect(existsSync(join(to, 'share/gone'))).toBe(false)
      expect((await verify(to)).faults).toEqual([])
      expect(await update(to, { readOnly })).toMatchObject({ method: 'adopted', digest: done.digest })
    },
  )

  test('is not replaced unless that is asked for, and the hint says how to ask', async () => {
    const to = await deployed()
    await expect(deploy({ archive: second, to })).rejects.toMatchObject({
      code: 'TARGET_EXISTS',
      hint: expect.stringContaining('--update'),
    })
    const writable = deploy({ archive: second, to, readOnly: false, update: true })
    await expect(writable).rejects.toMatchObject({ code: 'TARGET_EXISTS' })
  })

  test('where nothing stands, it is deployed', async () => {
    expect(await update(place())).toMatchObject({ method: 'deployed' })
  })

  test('a dry run says so, and writes nothing', async () => {
    const to = await deployed()
    const before = describeTree(to)
    expect(await update(to, { dryRun: true })).toMatchObject({ method: 'updated', dryRun: true })
    expect(differences(before, describeTree(to))).toEqual([])
  })

  test('an archive made by others updates nothing', async () => {
    const to = await deployed()
    await expect(update(to, { archive: foreign })).rejects.toMatchObject({ code: 'UNSUPPORTED', path: to })
  })

  test('the command says what was kept, and --json too', async () => {
    const to = await deployed()
    const said = await runCli([second, '--to', to, '--update', '--json'])
    expect(JSON.parse(said.stdout)).toMatchObject({ method: 'updated', updated: { removed: 1 } })
    const back = await runCli([first, '--to', to, '--update'])
    expect(back).toMatchObject({ status: 0, stdout: `${to}\n` })
    expect(back.stderr).toMatch(/^updated +/m)
    expect(back.stderr).toMatch(/^kept +\d+ files, 1 file removed; /m)
  })

  test.each([{ root: work }, { to: undefined }, { base: work }])('not together with %o', async (other) => {
    const options = { archive: second, to: place(), update: true, ...other }
    await expect(deploy(options)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })
})

describe('what a user did to a tree', () => {
  test.each([
    ['a file that is replaced has other bytes', (to: string) => appendFileSync(openAt(to, changed), 'mine\n')],
    ['a file that is replaced has another time', (to: string) => utimesSync(openAt(to, changed), 5, 5)],
    ['a file that is removed is gone', (to: string) => rmSync(openAt(to, gone))],
  ])('%s: nothing is done', async (_, spoil) => {
    const to = await deployed({ readOnly: false })
    spoil(to)
    const before = describeTree(to)
    await expect(update(to, { readOnly: false })).rejects.toMatchObject({
      code: 'VERIFY_FAILED',
      message: expect.stringMatching(/is not as it was deployed: share\/(changed|gone\/file)\.txt \(/),
    })
    expectAsBefore(to, before)
  })

  test('files beside those of the archive stay, also in folders that would go', async () => {
    const to = await deployed({ readOnly: false })
    writeFileSync(join(to, 'share/gone/mine.txt'), 'mine')
    await update(to, { readOnly: false })
    expect(readFileSync(join(to, 'share/gone/mine.txt'), 'utf8')).toBe('mine')
    expect(existsSync(join(to, gone))).toBe(false)
  })

  test('a file in the way of a new one is named, and nothing is done', async () => {
    const to = await deployed({ readOnly: false })
    mkdirSync(join(to, 'share/new'))
    writeFileSync(join(to, 'share/new/file.txt'), 'mine')
    const before = describeTree(to)
    await expect(update(to, { readOnly: false })).rejects.toMatchObject({
      code: 'TARGET_EXISTS',
      message: expect.stringContaining('share/new/file.txt'),
    })
    expectAsBefore(to, before)
  })

  test('what stays is trusted; --verify hashes it, and takes back what was done', async () => {
    const to = await deployed()
    const file = openAt(to, kept)
    const { mtime } = statSync(file)
    writeFileSync(file, readFileSync(file, 'utf8').replace('in', 'IN'))
    utimesSync(file, mtime, mtime)
    const state = (): ReturnType<typeof describeTree> => describeTree(to)
    const before = state()
    await expect(update(to, { verify: true })).rejects.toMatchObject({
      code: 'VERIFY_FAILED',
      message: expect.stringContaining(kept),
    })
    expect(differences(before, state()).filter((line) => !/^(\.conda-deploy|share)?: /.test(line))).toEqual([])
    expect(await update(to)).toMatchObject({ method: 'updated' })
  })
})
