/** Environments whose own files are hostile: what conda-meta, entry points and scripts say is data, never a place to go or a thing to run. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readActivation } from '../../src/conda/activation.js'
import { tellActivating } from '../../src/conda/taker.js'
import { deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { EnvError } from '../../src/errors.js'
import { pack } from '../../src/pack/pack.js'
import { type FakeEnvironment, here, makeEnvironment, python } from '../support/make-env.js'
import { isInstalled, shells } from '../support/shells.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('hostile-metadata')
const canary = join(work, 'canary')
writeFileSync(canary, 'untouched')
let count = 0

/** Packs an environment with one more record, as it is; null: refused with an EnvError. */
async function packed(record: string | object, what: Partial<FakeEnvironment> = {}): Promise<string | null> {
  const prefix = join(work, `env${++count}`)
  makeEnvironment(prefix, { packages: [python], ...what })
  const text = typeof record === 'string' ? record : JSON.stringify(record)
  writeFileSync(join(prefix, 'conda-meta/evil-1-0.json'), text)
  try {
    await pack({ prefix, output: `${prefix}.tar.zst`, ignoreMissingFiles: true })
    return `${prefix}.tar.zst`
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    expect(existsSync(`${prefix}.tar.zst`)).toBe(false)
    return null
  } finally {
    expect(readFileSync(canary, 'utf8')).toBe('untouched')
  }
}

async function deployed(archive: string, to: string): Promise<string> {
  const { prefix } = await deploy({ archive, to, readOnly: false })
  expect((await verify(prefix)).faults).toEqual([])
  expect(readFileSync(canary, 'utf8')).toBe('untouched')
  return prefix
}

const one = (path: string, more: object = {}): object => ({
  name: 'evil',
  version: '1',
  build: '0',
  files: [path],
  paths_data: { paths: [{ _path: path, path_type: 'hardlink', ...more }], paths_version: 1 },
})

describe('records', () => {
  const outside = ['../../canary', '/etc/passwd', 'lib/../../canary', '..', '', '.', 'a\0b', `lib/${'x'.repeat(5000)}`]
  test.each(outside.map((path) => [path.slice(0, 20), path]))('that name %j as a file of theirs', async (_, path) => {
    const archive = await packed(
      one(path, { prefix_placeholder: 'untouched', file_mode: 'text', sha256: 'a'.repeat(64) }),
    )
    if (archive === null) return
    const prefix = await deployed(archive, join(work, `to${count}`))
    const record = readFileSync(join(prefix, 'conda-meta/evil-1-0.json'), 'utf8')
    const named = (JSON.parse(record).paths_data.paths as { _path: string }[]).map(({ _path }) => _path)
    // These two name the environment itself.
    expect(named.filter((name) => name !== '' && name !== '.')).toEqual([])
  })

  const odd: readonly [what: string, text: string][] = [
    ['nothing', ''],
    ['no JSON', '{"name":'],
    ['a list', '[]'],
    ['null', 'null'],
    ['names twice', '{"name": "evil", "name": "good", "version": "1", "version": "2", "files": []}'],
    [
      '__proto__',
      '{"name": "evil", "version": "1", "__proto__": {"files": ["x"], "polluted": true}, "constructor": {"prototype": {"polluted": true}}}',
    ],
    ['100,000 levels', `{"name": "evil", "version": "1", "x": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
    ['a name that is a path', '{"name": "../../x", "version": "../..", "build": "/", "files": []}'],
    ['10 MB', JSON.stringify({ name: 'evil', version: '1', description: 'x'.repeat(10_000_000) })],
    [
      'files that are no texts',
      '{"name": "evil", "version": "1", "files": [null, 1, {}, ["x"]], "paths_data": {"paths": [null, 1, "x", {"_path": 5}]}}',
    ],
  ]
  test.each(odd)('that hold %s', async (_, text) => {
    const archive = await packed(text)
    if (archive !== null) await deployed(archive, join(work, `to${count}`))
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })
})

describe('programs', () => {
  test('whose names are shell code are never run by packing, deploying or activating', async () => {
    const evil = `$(touch ${work.replaceAll('/', '\\057')}evil)`
    const files = [
      `bin/\`touch evil\``,
      'bin/$(touch evil)',
      'bin/; touch evil',
      "bin/'; touch evil; '",
      'bin/-rf',
      'bin/a\nb',
    ]
    const archive = await packed(one('lib/none'), {
      files: files.map((path) => ({ path, text: `#!${here}/bin/python\n${evil}\n`, executable: true })),
    })
    const prefix = await deployed(archive as string, join(work, `to${count}`))
    for (const path of files) expect(existsSync(join(prefix, path))).toBe(true)
    const code = (await tellActivating(await readActivation(prefix), 'bash', { now: {} })).text
    execFileSync('bash', ['--norc', '-c', `${code}\n:`], { cwd: work })
    expect(readdirSync(work)).not.toContain('evil')
  })
})

describe('a prefix of shell code', () => {
  const names = [
    '$(touch evil)',
    '`touch evil`',
    "it's",
    '"double"',
    'a b',
    '$HOME',
    '!!',
    '*',
    ';touch evil;',
    '&touch evil&',
    '\\',
    '%n',
    '#x',
    '~',
    "'; touch evil; '",
  ]
  let archive: string | null = null
  const installed = shells.filter(({ command }) => isInstalled(command[0] as string))

  test.each(names)('%j: activating and deactivating is not running it', async (name) => {
    archive ??= await packed(one('lib/none'))
    const folder = join(work, 'places', String(++count))
    mkdirSync(folder, { recursive: true })
    const prefix = await deployed(archive as string, join(folder, name))
    for (const { command, family } of installed) {
      const file = family === 'sh' ? 'activate' : family === 'fish' ? 'activate.fish' : 'activate.csh'
      const lines = ['$CONDA_PREFIX', '$CONDA_PREFIX', '$CONDA_PREFIX:q'][['sh', 'fish', 'csh'].indexOf(family)]
      const script =
        family === 'sh'
          ? `. "$ACTIVATE"; printf %s "${lines}"`
          : family === 'fish'
            ? `source $ACTIVATE; printf %s ${lines}`
            : `source $ACTIVATE:q; printenv CONDA_PREFIX`
      const env = { PATH: process.env['PATH'], HOME: '/nonexistent', ACTIVATE: join(prefix, 'bin', file), TERM: 'dumb' }
      const at = join(folder, `script.${family}`)
      writeFileSync(at, `${script}\n`)
      const said = execFileSync(command[0] as string, [...command.slice(1), at], {
        cwd: folder,
        env,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      expect(said.trimEnd(), command.join(' ')).toBe(prefix)
      expect(readdirSync(folder)).not.toContain('evil')
    }
  })

  test('control characters in a prefix are refused before anything is written', async () => {
    for (const name of ['a\nb', 'a\x1b[31m', 'a\x7f', 'a\rb']) {
      const to = join(work, 'controls', name)
      await expect(deploy({ archive: archive as string, to })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    }
    expect(existsSync(join(work, 'controls'))).toBe(false)
  })
})
