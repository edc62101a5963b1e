/** A name may have 255 bytes: what verbs make beside it has names of its own, that are not longer. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { relocate } from '../../src/deploy/relocate.js'
import { create } from '../../src/install/create.js'
import { removeEnvironment } from '../../src/install/remove-environment.js'
import { pack } from '../../src/pack/pack.js'
import { boundedName } from '../../src/tree/bounded-name.js'
import { replaceFile } from '../../src/tree/replace-file.js'
import { build, writeIndex } from '../install/built.js'
import { sandbox } from '../install/sandbox.js'
import { temporaryFolder } from '../support/temp.js'

const folder = temporaryFolder('bounded')
sandbox(folder)
const channel = join(folder, 'channel')
/** 255 bytes; of two to four bytes each where a name is cut. */
const names = ['n'.repeat(255), `${'é'.repeat(127)}x`, `${'𝕏'.repeat(63)}xyz`]

beforeAll(async () => writeIndex(channel, [await build(channel, { name: 'tool', files: [] })]))

test('a name stays, unless nothing could stand around it', () => {
  expect(boundedName('x'.repeat(220))).toBe('x'.repeat(220))
  expect(boundedName('é'.repeat(111))).toMatch(/^[0-9a-f]{32}$/)
  expect(boundedName('x'.repeat(181), 75)).toHaveLength(32)
})

test.each(names.map((name) => [name.slice(0, 4), name]))(
  'of an environment, an archive, a file: %s…',
  async (_, name) => {
    const at = join(folder, name)
    const there = join(at, name)
    mkdirSync(at)
    const prefix = join(at, 'env')
    await create({ prefix: there, specs: ['tool'], channels: [channel], overrideChannels: true })
    const output = join(folder, `${[...name].slice(0, -8).join('')}.tar.zst`)
    await pack({ prefix: there, output, force: true })
    await removeEnvironment({ prefix: there })
    await deploy({ archive: output, to: prefix })
    await relocate({ directory: prefix, to: there })
    expect(existsSync(there)).toBe(true)
    await replaceFile(join(at, `${name.slice(0, -1)}f`), 'content')
    expect(readFileSync(join(at, `${name.slice(0, -1)}f`), 'utf8')).toBe('content')
    expect(readdirSync(at).filter((one) => one.startsWith('.') && !one.endsWith('.lock'))).toEqual([])
  },
)
