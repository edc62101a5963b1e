/** Plain tars of environments, deployed, though no packer noted anything in them. */
import { existsSync, lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { verify } from '../../src/deploy/verify.js'
import { type Packed, tarOf } from '../support/conda-pack-archive.js'
import { describeTree, filesWith } from '../support/tree.js'
import { deployed, failure, onPurpose, origin, site, unlike } from './foreign-sample.js'

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

  test('with a link where a file was has the link', async () => {
    const twice: Packed[] = [
      { name: './share/twice', mode: 0o644, data: Buffer.from('first') },
      { name: './share/twice', type: 'symlink', linkname: 'own.txt' },
    ]
    const { prefix, foreign } = await deployed(await plainTar((all) => [...all, ...twice]))
    expect(foreign?.duplicates).toEqual(['share/twice'])
    expect(readlinkSync(join(prefix, 'share/twice'))).toBe('own.txt')
    expect((await verify(prefix)).faults).toEqual([])
  })

  test('leaves out compiled Python of a relocated source under its other names too', async () => {
    const compiled = (name: string): string => `${site}/__pycache__/${name}.cpython-311.pyc`
    const more: Packed[] = [
      { name: `./${site}/alias.py`, type: 'link', linkname: `./${site}/config.py` },
      ...['alias', 'config', 'piptool'].map(
        (name): Packed => ({ name: `./${compiled(name)}`, data: Buffer.from('pyc') }),
      ),
      { name: `./${site}/alias.pyc`, data: Buffer.from('pyc') },
    ]
    const { prefix, foreign } = await deployed(await plainTar((all) => [...all, ...more]))
    expect(foreign?.droppedPyc).toEqual(
      expect.arrayContaining([compiled('alias'), compiled('config'), `${site}/alias.pyc`]),
    )
    expect(foreign?.droppedPyc).not.toContain(compiled('piptool'))
    expect(existsSync(join(prefix, compiled('alias')))).toBe(false)
    expect((await verify(prefix)).faults).toEqual([])
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
