import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Environment, openEnvironment } from '../../src/conda/environment.js'
import { recordText } from '../../src/conda/record-text.js'
import type { Outcome } from '../../src/native.js'
import { contentsOf, fateOf } from '../../src/pack/contents.js'
import { draftRecords } from '../../src/pack/drafts.js'
import { ignored, type Plan, planPack } from '../../src/pack/plan.js'
import { here, makeEnvironment, python, scanTree, temporaryFolder } from '../support/make-env.js'

const root = temporaryFolder()
const site = 'lib/python3.11/site-packages'
const compiled = `${site}/__pycache__/app.cpython-311.pyc`
const app = {
  name: 'app',
  files: [
    { path: 'bin/app', text: `#!${here}/bin/python\nimport app\n`, executable: true },
    { path: `${site}/app.py`, text: `home = "${here}"\n` },
    { path: `${site}/plain.py`, text: 'x = 1\n' },
    { path: compiled, text: 'compiled' },
    { path: `${site}/__pycache__/plain.cpython-311.pyc`, text: 'compiled' },
  ],
}
const other = { name: 'other', files: [{ path: 'share/other', text: 'y' }] }

async function planned(): Promise<{ environment: Environment; plan: Plan }> {
  const prefix = join(root, 'env')
  makeEnvironment(prefix, { packages: [python, app, other] })
  const environment = await openEnvironment(prefix, { HOME: root })
  const options = { filters: [], scripts: [], reserved: [], skipped: [] }
  return { environment, plan: planPack(environment, scanTree(prefix, ignored), options) }
}
const { environment, plan } = await planned()

const found = (path: string, more: Partial<Outcome> = {}): Outcome => ({
  ...{ path, state: 'modified', size: 1, sha256: 'f'.repeat(64), spots: [], dropped: false },
  kept: { prefix: 0, placeholder: 0 },
  ...more,
})
const relocated = (path: string): Outcome =>
  found(path, { state: 'proven', spots: [{ encoding: 'text', offset: 0, refers: '/x', slot: 0 }] })
const sound = [
  relocated('bin/app'),
  relocated('bin/python3.11'),
  relocated(`${site}/app.py`),
  found(compiled, { dropped: true }),
]

const draft = draftRecords(environment, plan, [])
const written = (outcomes: readonly Outcome[]): ReturnType<typeof draft> =>
  draft(new Map(outcomes.map((outcome) => [outcome.path, outcome])))
/** The texts as if nothing had been written before the outcomes were known. */
const afterwards = (outcomes: readonly Outcome[]): ReturnType<typeof draft> => {
  const known = new Map(outcomes.map((outcome) => [outcome.path, outcome]))
  const dropped = outcomes.filter((outcome) => outcome.dropped).map((outcome) => outcome.path)
  const contents = contentsOf(plan, dropped, (entry) => fateOf(entry, known.get(entry.path)), [])
  const sitePackages = environment.python?.sitePackages ?? ''
  return new Map(environment.packages.map(({ record }) => [record.file, recordText(record, contents, sitePackages)]))
}

describe('records drafted while the core packs', () => {
  test('stay when it finds what was expected', () => {
    expect(written(sound)).toEqual(afterwards(sound))
    const again = written([...sound, found(`${site}/plain.py`)])
    for (const [path, text] of written(sound)) expect(again.get(path) === text).toBe(!path.includes('/app-'))
  })

  test.each<readonly [what: string, outcomes: readonly Outcome[]]>([
    ['a file was changed', [...sound, found(`${site}/plain.py`)]],
    ['a file without a placeholder is relocated', [...sound, relocated('share/other')]],
    ['a file with a placeholder no longer holds the prefix', [found('bin/app'), ...sound.slice(1)]],
    ['compiled Python is left out', [...sound, found(`${site}/__pycache__/plain.cpython-311.pyc`, { dropped: true })]],
    ['compiled Python stays', [...sound.slice(0, 2), found(`${site}/app.py`), found(compiled)]],
  ])('are written anew when %s', (_, outcomes) => {
    expect(written(outcomes)).toEqual(afterwards(outcomes))
    expect(written(outcomes)).not.toEqual(written(sound))
  })
})
