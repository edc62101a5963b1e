/** Archives of conda-pack, deployed to prefixes of all kinds, and packed in all ways that are read by the core. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { compress } from 'zstd-napi'
import { verify } from '../../src/deploy/verify.js'
import { type Packed, tarOf } from '../support/conda-pack-archive.js'
import { here, placeholder } from '../support/make-env.js'
import { removeTree } from '../support/temp.js'
import { archiveOf, deployed, failure, origin, packed, place, site, tar, work } from './foreign-sample.js'

describe('prefixes', () => {
  test('that are long or have blanks make trampolines', async () => {
    const result = await deployed(tar, { to: join(place(), `with blank ${'n'.repeat(40)}`, 'env') })
    expect(result.trampolines).toBe(4)
    expect(readFileSync(join(result.prefix, 'bin/pytool'), 'utf8')).toBe(
      `#!/bin/sh\n'''exec' "${result.prefix}/bin/python" "$0" "$@" #'''\nimport pytool\n`,
    )
    expect((await verify(result.prefix)).faults).toEqual([])
  })

  test('longer than a placeholder are refused', async () => {
    const to = join(work, 'n'.repeat(120), 'n'.repeat(130))
    mkdirSync(dirname(to))
    await expect(deployed(tar, { to })).rejects.toMatchObject({
      code: 'PREFIX_TOO_LONG',
      paths: ['bin/python3.11', 'lib/libx.so.1'],
    })
    expect(readdirSync(dirname(to))).toEqual([])
  })

  test('longer than that of the source leave unmanaged programs as they were, by name', async () => {
    const result = await deployed(tar, { to: join(place(), 'n'.repeat(100)) })
    expect(result.foreign?.kept).toEqual([{ path: `${site}/native.so`, count: 1 }])
    expect(result.warnings).toEqual([
      `these keep the prefix of the source environment, because the new one is longer: ${site}/native.so`,
    ])
  })

  test('longer than that of the source are refused where the installer had written it', async () => {
    const told = await failure(await packed({ uncached: ['libx'] }), { to: join(work, 'm'.repeat(100)) })
    expect(told).toMatch(/^PREFIX_TOO_LONG: .* fit into lib\/libx\.so\.1/)
  })

  test('that hold the old one, or are held by it, are written once', async () => {
    for (const to of [`${origin}/deep`, `${origin}2`, `${dirname(origin)}/ap`]) {
      const result = await deployed(tar, { to })
      expect(readFileSync(join(to, 'share/own.txt'), 'utf8')).toBe(`at ${to}\n`)
      expect(readFileSync(join(to, 'lib/pkgconfig/x.pc'), 'utf8')).toBe(`prefix=${to}\n`)
      expect((await verify(to)).faults).toEqual([])
      removeTree(result.prefix)
    }
  })
})

describe('packing', () => {
  test.each([
    ['tar', (bytes: Buffer) => bytes],
    ['tar.zst', (bytes: Buffer) => compress(bytes)],
    ['tar.gz', (bytes: Buffer) => Buffer.concat([gzipSync(bytes.subarray(0, 5000)), gzipSync(bytes.subarray(5000))])],
  ])('%s is read', async (format, pack) => {
    const result = await deployed(tar, { archive: archiveOf(pack(tar), 'env') })
    expect(result).toMatchObject({ foreign: { format }, warnings: [] })
    expect((await verify(result.prefix)).faults).toEqual([])
  })

  test('a folder around everything is taken away, and named', async () => {
    const result = await deployed(await packed({ arcroot: 'app-1.0/inner' }))
    expect(result.foreign?.root).toBe('app-1.0/inner')
    expect(result.warnings).toEqual([
      'the environment is in the folder app-1.0/inner of the archive; the folder is not kept',
    ])
    expect(existsSync(join(result.prefix, 'bin/pytool'))).toBe(true)
    expect((await verify(result.prefix)).faults).toEqual([])
  })

  test('a folder around not quite everything is no environment', async () => {
    const bytes = await packed({ arcroot: 'app', edit: (all) => all })
    const more = await tarOf([{ name: 'README', data: Buffer.from('read me') }])
    expect(await failure(Buffer.concat([bytes.subarray(0, -1024), more]))).toMatch(
      /^NOT_AN_ENV: .*"README" lies outside/,
    )
  })

  test('a file larger than a batch goes through the disk', async () => {
    const data = Buffer.alloc(20 << 20, 'large {prefix} '.replace(here, placeholder))
    const record = {
      name: 'big',
      version: '1.0',
      files: ['lib/big'],
      paths_data: {
        paths: [{ _path: 'lib/big', path_type: 'hardlink', prefix_placeholder: placeholder, file_mode: 'text' }],
      },
    }
    const edit = (all: Packed[]): Packed[] => [
      { name: 'conda-meta/big-1.0-0.json', data: Buffer.from(JSON.stringify(record)) },
      ...all,
      { name: 'lib/big', data },
    ]
    const { prefix } = await deployed(await packed({ edit }), { archive: archiveOf(await packed({ edit }), 'env.tar') })
    expect(readFileSync(join(prefix, 'lib/big'), 'latin1')).toBe(
      data.toString('latin1').replaceAll(placeholder, prefix),
    )
    expect(readdirSync(join(prefix, '.conda-deploy')).sort()).toEqual(['index', 'ready'])
  })
})
