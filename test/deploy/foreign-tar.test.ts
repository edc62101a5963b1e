/** Plain tars of environments, deployed, though no packer noted anything in them. */
import { lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { verify } from '../../src/deploy/verify.js'
import { type Packed, tarOf } from '../support/conda-pack-archive.js'
import { describeTree, filesWith } from '../support/tree.js'
import { deployed, failure, onPurpose, origin, unlike } from './foreign-sample.js'

describe('a plain tar of an environment', () => {
  const plainTar = async (edit: (all: Packed[]) => Packed[] = (all) => all): Promise<Buffer> => {
    const names = [...describeTree(origin).keys()].sort()
    const members = names.map((name): Packed => {
      const full = join(origin, name)
      const stat = lstatSync(full)
      const header = { name: `./${name}`, mode: stat.mode & 0o777, mtime: stat.mtime }
      if (stat.isSymbolicLink()) return { ...header, type: 'symlink', linkname: readlinkSync(full) }
      return stat.isDirectory() ? { ...header, type: 'directory' } : { ...header, data: readFileSync(full) }
    })
    return await tarOf(edit(members))
  }

  test('relocates by the prefix that its scripts name', async () => {
    const result = await deployed(await plainTar())
    expect(result.foreign).toMatchObject({ producer: null, origins: [origin], leftOut: [], restoredScripts: [] })
    expect(result.warnings).toEqual([])
    expect((await verify(result.prefix)).faults).toEqual([])
    expect(filesWith(result.prefix, origin).filter((path) => !path.startsWith('.conda-deploy/'))).toEqual([])
    expect(unlike(result)).toEqual(onPurpose.filter((path) => !path.startsWith('bin/')))
  })

  test('says so when nothing names the prefix', async () => {
    const result = await deployed(await plainTar((all) => all.filter(({ name }) => !name.startsWith('./bin/'))))
    expect(result.foreign).toMatchObject({ origins: [] })
    expect(result.warnings).toEqual([
      expect.stringMatching(/does not tell where its environment stood/),
      expect.stringMatching(/^links lead out .* share\/absolute/),
    ])
    expect(readFileSync(join(result.prefix, 'share/own.txt'), 'utf8')).toBe(`at ${origin}\n`)
  })

  test('of a deployed environment leaves out what was ours', async () => {
    const result = await deployed(
      await plainTar((all) => [...all, { name: './.conda-deploy/ready', data: Buffer.from('{}') }]),
    )
    expect(result.foreign?.leftOut).toEqual(['.conda-deploy/ready'])
    expect(result.warnings).toEqual(['left out, an archive cannot bring it: .conda-deploy/ready'])
  })

  test('without records is refused', async () => {
    expect(await failure(await plainTar((all) => all.filter(({ name }) => !name.includes('conda-meta'))))).toMatch(
      /^NOT_AN_ENV: /,
    )
    expect(await failure(await tarOf([{ name: 'src/main.c', data: Buffer.from('x') }]))).toMatch(/^NOT_AN_ENV: /)
  })

  test('with a record that is none is refused', async () => {
    const edit = (all: Packed[]): Packed[] => [...all, { name: 'conda-meta/x.json', data: Buffer.from('[]') }]
    expect(await failure(await plainTar(edit))).toMatch(/^ENV_DAMAGED: conda-meta\/x\.json/)
  })
})
